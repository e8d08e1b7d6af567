# One image for web, worker and release; `docker compose` and the Procfile name the commands.
FROM python:3.11-slim-bookworm AS packages
COPY requirements/base.txt /tmp/base.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/base.txt

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --home-dir /srv/courant courant \
    && mkdir -p /srv/courant/var \
    && chown courant:courant /srv/courant/var
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/courant
COPY manage.py Procfile ./
COPY config config
COPY core core
COPY accounts accounts
COPY newsletters newsletters
# Collecting static files needs settings that are right, not secret: DEBUG off chooses the hashed names.
RUN SECRET_KEY=only-for-collecting-static-files-0123456789 BASE_URL=http://localhost \
    python manage.py collectstatic --noinput
USER courant
EXPOSE 8000
CMD ["gunicorn", "--config", "config/gunicorn.py"]
