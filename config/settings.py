"""Django settings. Every value an operator may change comes from `config.environment`."""

from __future__ import annotations

import gc
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
import environ

from config import environment as env
from config.broker import dramatiq_broker

# Loading leaves hardly any garbage, and looking for it takes a fifth of a start; core.apps goes on with it.
gc.disable()
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env")
_reader = env.Reader(os.environ)

# --- the site ---------------------------------------------------------------
DEBUG = _reader.flag("DEBUG", default=False)
BASE_URL = _reader.read("BASE_URL", env.parse_base_url, "http://127.0.0.1:8000" if DEBUG else "")
ALLOWED_HOSTS = list(_reader.words("ALLOWED_HOSTS", ("127.0.0.1", "localhost", "[::1]") if DEBUG else ()))
SECRET_KEY = _reader.text("SECRET_KEY", env.DEVELOPMENT_KEY if DEBUG else "")
SIGNING_KEYS = _reader.words("SIGNING_KEYS", (SECRET_KEY,))
if not DEBUG:
    if not BASE_URL and not any(problem.startswith("BASE_URL") for problem in _reader.problems):
        _reader.fail("BASE_URL", "is required: the public address that links in mails point to")
    for _key in SIGNING_KEYS:
        if _key != SECRET_KEY:
            env.check_secret(_reader, "SIGNING_KEYS", _key)
    if SECRET_KEY == env.DEVELOPMENT_KEY:
        _reader.fail("SECRET_KEY", "is the development key, which everybody knows")
    env.check_secret(_reader, "SECRET_KEY", SECRET_KEY)
    if not ALLOWED_HOSTS:
        ALLOWED_HOSTS = [urlsplit(BASE_URL).hostname or "localhost"]
SIGN_UP = _reader.choice("SIGN_UP", ("open", "invitation", "closed"), "invitation")
REQUIRE_MFA = _reader.choice("REQUIRE_MFA", ("nobody", "staff", "everyone"), "nobody")
TRUSTED_PROXY_COUNT = _reader.whole("TRUSTED_PROXY_COUNT", 0, least=0, most=10)
API_KEY_RATE = _reader.whole("API_KEY_RATE", 100, least=0, most=100_000)
API_ADDRESS_RATE = _reader.whole("API_ADDRESS_RATE", 20, least=0, most=100_000)
API_REQUEST_LOG_DAYS = _reader.whole("API_REQUEST_LOG_DAYS", 30, least=0, most=3_650)

# --- database, broker, mail -----------------------------------------------------
_has_pooler = _reader.flag("DATABASE_POOLER", default=False)
_database = _reader.read("DATABASE_URL", env.parse_database_url, env.default_database(BASE_DIR))
if _database["ENGINE"].endswith("sqlite3"):
    Path(_database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # NORMAL would lose the last commits in a power failure, and their mails would go out again unflagged.
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;",
    }
else:
    _database |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    # A server that vanished without a word, or a frozen process of ours that holds row locks, is given up on in time.
    _patience: dict[str, str | int] = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10}
    _patience |= {"keepalives_count": 3, "tcp_user_timeout": 60_000}
    _patience |= {"options": "-c idle_in_transaction_session_timeout=60s"}
    # PgBouncer in transaction mode keeps neither cursors nor prepared statements nor settings for a session.
    if _has_pooler:
        _database |= {"CONN_MAX_AGE": 0, "DISABLE_SERVER_SIDE_CURSORS": True}
        del _patience["options"]
    _database["OPTIONS"] = _patience | _database.get("OPTIONS", {})
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Counts that all processes share, such as failed log-ins.
CACHES = {
    "default": {
        "BACKEND": "accounts.doors.limits.CountsCache",
        "LOCATION": "core_cache",
        # With more entries a third is forgotten, and Django's 300 would soon be filled by whoever wants that.
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}

BROKER_URL = _reader.read("BROKER_URL", env.parse_broker_url, "memory://")
WORKER_PROCESSES = _reader.whole("WORKER_PROCESSES", 2, most=64)
WORKER_THREADS = _reader.whole("WORKER_THREADS", 8, least=4, most=64)
DRAMATIQ_BROKER = dramatiq_broker(BROKER_URL)
DRAMATIQ_AUTODISCOVER_MODULES = ["actors"]

_email = _reader.read(
    "EMAIL_URL",
    env.parse_email_url,
    env.parse_email_url("smtp://127.0.0.1:2525") if DEBUG else env.parse_email_url("smtp://127.0.0.1:25"),
)
EMAIL_BACKEND = _reader.text("EMAIL_BACKEND", _email["EMAIL_BACKEND"])
EMAIL_HOST = _email["EMAIL_HOST"] or "127.0.0.1"
EMAIL_PORT = _email["EMAIL_PORT"] or 25
EMAIL_HOST_USER = _email["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"] or ""
EMAIL_FILE_PATH = _email["EMAIL_FILE_PATH"]
EMAIL_USE_TLS = bool(_email.get("EMAIL_USE_TLS"))
EMAIL_USE_SSL = bool(_email.get("EMAIL_USE_SSL"))
EMAIL_TIMEOUT = _reader.whole("EMAIL_TIMEOUT", 30, most=600)
EMAIL_CONNECTION_MAILS = _reader.whole("EMAIL_CONNECTION_MAILS", 1_000, least=0)
EMAIL_CONNECTION_SECONDS = _reader.whole("EMAIL_CONNECTION_SECONDS", 300, least=0, most=86_400)
DEFAULT_FROM_EMAIL = _reader.address("DEFAULT_FROM_EMAIL", f"courant@{urlsplit(BASE_URL).hostname or 'localhost'}")
# Anymail reads this dictionary; each ANYMAIL_… variable is one of its keys.
ANYMAIL = {name.removeprefix("ANYMAIL_"): value for name, value in os.environ.items() if name.startswith("ANYMAIL_")}

# --- sending ----------------------------------------------------------------------
# Names that never reach anybody (RFC 2606) are taken as addresses only where nothing real is sent.
ALLOW_TEST_ADDRESSES = _reader.flag("ALLOW_TEST_ADDRESSES", default=DEBUG)
RECIPIENT_ALLOW_LIST = _reader.words("RECIPIENT_ALLOW_LIST")
VERIFIED_SENDER_DOMAINS = _reader.words("VERIFIED_SENDER_DOMAINS")
BOUNCE_ADDRESS = _reader.address("BOUNCE_ADDRESS")
UNSUBSCRIBE_MAILBOX = _reader.address("UNSUBSCRIBE_MAILBOX")
DELIVERY_LANES = _reader.whole("DELIVERY_LANES", 32, most=1000)
DELIVERY_LEASE_SECONDS = _reader.whole("DELIVERY_LEASE_SECONDS", 60, least=2, most=3600)
DELIVERY_SLICE_SECONDS = _reader.whole("DELIVERY_SLICE_SECONDS", 20, most=120)
FAN_OUT_CHUNK = _reader.whole("FAN_OUT_CHUNK", 10_000, least=10, most=100_000)
DELIVERY_RETENTION_DAYS = _reader.whole("DELIVERY_RETENTION_DAYS", 0, least=0, most=36_500)
DESTINATION_PACING = _reader.flag("DESTINATION_PACING", default=True)
RESTORE_GUARD_STORE = _reader.read(
    "RESTORE_GUARD_STORE", env.parse_guard_store, env.default_guard_store(BASE_DIR, _database)
)
RETRY_SCALE_PERCENT = _reader.whole("RETRY_SCALE_PERCENT", 100, least=1, most=100)
SMTP_PATIENCE_PERCENT = _reader.whole("SMTP_PATIENCE_PERCENT", 100, least=1, most=100)

_reader.raise_problems()

# --- Django ---------------------------------------------------------------------
# django_dramatiq makes the broker while apps load: an actor imported before it would bind to a default broker.
INSTALLED_APPS = [
    "django_dramatiq",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "ninja",
    "core",
    "accounts",
    "newsletters",
    # After core and accounts, whose templates replace some of their own.
    "django.contrib.admin",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.headless",
]
MIDDLEWARE = [
    "core.health.HealthMiddleware",
    "core.logs.RequestLogMiddleware",
    "core.head.HeadMiddleware",
    "accounts.request_log.JournalMiddleware",
    "core.problems.ProblemMiddleware",
    "accounts.rate_limits.RateLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.private_pages.PrivatePagesMiddleware",
    "accounts.doors.json_only.JsonOnlyMiddleware",
    "core.plain_requests.PlainCookiesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "core.plain_requests.PlainValuesMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "accounts.doors.second_factor_rule.SecondFactorMiddleware",
    "accounts.doors.limits.RetryAfterMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "core.restore_guard.banner",
                "accounts.current.switcher",
            ],
        },
    },
]
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
# In the session, not in a cookie of their own.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "account_login"
PASSWORD_HASHERS = ["accounts.hashers.Argon2Hasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3_600

# --- accounts (django-allauth) ---------------------------------------------------
ACCOUNT_ADAPTER = "accounts.doors.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.doors.forms.SignUpFields"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 3
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# An address that somebody else has only asked for is stored for a new account as well, as its first one.
ACCOUNT_PREVENT_ENUMERATION = "strict"
# The adapter is told of resets for addresses without an account, and mails nothing: both ways do the same work.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = True
# A key is an e-mail address or, for codes of second factors, a user.
ACCOUNT_RATE_LIMITS = {
    "login": "20/m/ip",
    "login_failed": "20/m/ip,5/m/key",
    "signup": "20/m/ip",
    "reset_password": "20/m/ip,3/10m/key",
    "reset_password_from_key": "20/m/ip",
    "confirm_email": "1/3m/key,20/d/key",
}
ACCOUNT_EMAIL_NOTIFICATIONS = True
# One address a person: a new one takes its place when it is verified.
ACCOUNT_CHANGE_EMAIL = True
# Who takes over a session must not take over the account by another address.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
# From log-in on, whatever is done meanwhile; django-allauth counts a number of seconds anew at each change.
ACCOUNT_SESSION_COOKIE_AGE = timedelta(days=14)
MFA_ADAPTER = "accounts.doors.second_factors.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Courant"
# Clocks of telephones may be half a minute off. A code is good once, and none before it afterwards.
MFA_TOTP_TOLERANCE = 1
USERSESSIONS_ADAPTER = "accounts.doors.trail.SessionsAdapter"
# Whoever is protected may change their address too. Nobody gets as far as a second factor with an unverified one.
MFA_ALLOW_UNVERIFIED_EMAIL = True
USERSESSIONS_TRACK_ACTIVITY = True
HEADLESS_CLIENTS = ("app",)
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
_static_storage = "whitenoise.storage.CompressedManifestStaticFilesStorage"
if DEBUG:
    _static_storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _static_storage},
}
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- security -------------------------------------------------------------------
_https = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "__Host-session" if _https else "courant-session"
DEVICE_COOKIE_NAME = "__Host-device" if _https else "courant-device"
CSRF_COOKIE_NAME = "__Host-csrf" if _https else "courant-csrf"
SESSION_COOKIE_AGE = 14 * 86_400
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [BASE_URL] if _https else []
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_SSL_REDIRECT = _https and not DEBUG
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

LOGGING_CONFIG = "core.logs.configure"
LOGGING = {"level": _reader.text("LOG_LEVEL", "INFO"), "debug": DEBUG}
# Where `Reader` was asked for a name; the list that .env.example is compared with.
ENVIRONMENT_NAMES = tuple(_reader.names)
