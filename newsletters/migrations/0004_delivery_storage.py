"""The ledger's keys: checked once a statement, not once a row (docs/decisions/0006-the-ledgers-keys.md)."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# What stood here before, from migrations 0001 and 0002. SQLite keeps its foreign key to the issue.
DROP_POSTGRESQL = """
ALTER TABLE newsletters_delivery DROP CONSTRAINT newsletters_delivery_subscription_fk;
ALTER TABLE newsletters_delivery DROP CONSTRAINT newsletters_delivery_issue_id_d20e1b1b_fk_newsletters_issue_id;
"""
OLD_POSTGRESQL = """
ALTER TABLE newsletters_delivery ADD CONSTRAINT newsletters_delivery_subscription_fk
    FOREIGN KEY (subscription_id) REFERENCES newsletters_subscription (id) ON DELETE SET NULL;
ALTER TABLE newsletters_delivery ADD CONSTRAINT newsletters_delivery_issue_id_d20e1b1b_fk_newsletters_issue_id
    FOREIGN KEY (issue_id) REFERENCES newsletters_issue (id) DEFERRABLE INITIALLY DEFERRED;
"""
OLD_SQLITE = """
CREATE TRIGGER newsletters_delivery_subscription_fk AFTER DELETE ON newsletters_subscription
BEGIN UPDATE newsletters_delivery SET subscription_id = NULL WHERE subscription_id = OLD.id; END
"""

# Who adds rows shares the newsletter's row lock, who deletes its subscriptions takes it alone: each waits for the
# other to commit, then looks with a new snapshot, which only READ COMMITTED gives.
POSTGRESQL = """
CREATE FUNCTION newsletters_delivery_added() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
DECLARE
    part record;
    newsletter bigint;
    present bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'ledger rows are added in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    FOR part IN SELECT a.issue_id, count(a.subscription_id) AS named,
            min(a.subscription_id) AS first, max(a.subscription_id) AS last
        FROM added a GROUP BY a.issue_id ORDER BY a.issue_id
    LOOP
        SELECT i.newsletter_id INTO newsletter FROM newsletters_issue i WHERE i.id = part.issue_id FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a ledger row names an issue that is not there' USING ERRCODE = 'foreign_key_violation';
        END IF;
        PERFORM FROM newsletters_newsletter n WHERE n.id = newsletter FOR SHARE;
        SELECT count(*) INTO present FROM newsletters_subscription s
            WHERE s.newsletter_id = newsletter AND s.id BETWEEN part.first AND part.last
              AND s.id IN (SELECT a.subscription_id FROM added a WHERE a.issue_id = part.issue_id);
        IF present <> part.named THEN
            RAISE EXCEPTION 'a ledger row names a subscription that its newsletter does not have'
                USING ERRCODE = 'foreign_key_violation';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER newsletters_delivery_added AFTER INSERT ON newsletters_delivery
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION newsletters_delivery_added();

CREATE FUNCTION newsletters_subscription_gone() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'subscriptions are deleted in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM FROM newsletters_newsletter n
        WHERE n.id IN (SELECT g.newsletter_id FROM gone g) ORDER BY n.id FOR NO KEY UPDATE;
    UPDATE newsletters_delivery d SET subscription_id = NULL, merge = NULL, reply_text = NULL
        FROM gone g JOIN newsletters_issue i ON i.newsletter_id = g.newsletter_id
        WHERE d.issue_id = i.id AND d.subscription_id = g.id;
    RETURN NULL;
END $$;
CREATE TRIGGER newsletters_subscription_gone AFTER DELETE ON newsletters_subscription
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION newsletters_subscription_gone();

CREATE FUNCTION newsletters_issue_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM newsletters_delivery WHERE issue_id = OLD.id) THEN
        RAISE EXCEPTION 'issue % has ledger rows', OLD.id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER newsletters_issue_gone AFTER DELETE ON newsletters_issue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION newsletters_issue_gone();

CREATE FUNCTION newsletters_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM newsletters_delivery) THEN
        RAISE EXCEPTION '% is named by ledger rows', TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER newsletters_issue_truncated AFTER TRUNCATE ON newsletters_issue
    FOR EACH STATEMENT EXECUTE FUNCTION newsletters_refuse_truncate();
CREATE TRIGGER newsletters_subscription_truncated AFTER TRUNCATE ON newsletters_subscription
    FOR EACH STATEMENT EXECUTE FUNCTION newsletters_refuse_truncate();

CREATE FUNCTION newsletters_refuse_new_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % keeps its keys', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER newsletters_delivery_keys AFTER UPDATE OF issue_id, subscription_id ON newsletters_delivery
    FOR EACH ROW WHEN (NEW.issue_id <> OLD.issue_id OR (NEW.subscription_id IS NOT NULL
        AND NEW.subscription_id IS DISTINCT FROM OLD.subscription_id))
    EXECUTE FUNCTION newsletters_refuse_new_key();
CREATE TRIGGER newsletters_issue_keys AFTER UPDATE OF id, newsletter_id ON newsletters_issue
    FOR EACH ROW WHEN (NEW.id <> OLD.id OR NEW.newsletter_id <> OLD.newsletter_id)
    EXECUTE FUNCTION newsletters_refuse_new_key();
CREATE TRIGGER newsletters_subscription_keys AFTER UPDATE OF id, newsletter_id ON newsletters_subscription
    FOR EACH ROW WHEN (NEW.id <> OLD.id OR NEW.newsletter_id <> OLD.newsletter_id)
    EXECUTE FUNCTION newsletters_refuse_new_key();

-- Room on a row's own page for its next versions: at 60 the gate's update is HOT for 95 rows of 100, at 100 for 40, and
-- a mail writes 1,106 bytes of WAL instead of 1,474. And every row is updated three times, soon after it came.
ALTER TABLE newsletters_delivery SET (fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
"""
UNDO_POSTGRESQL = """
ALTER TABLE newsletters_delivery RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
DROP TRIGGER newsletters_delivery_added ON newsletters_delivery;
DROP TRIGGER newsletters_delivery_keys ON newsletters_delivery;
DROP TRIGGER newsletters_issue_gone ON newsletters_issue;
DROP TRIGGER newsletters_issue_truncated ON newsletters_issue;
DROP TRIGGER newsletters_issue_keys ON newsletters_issue;
DROP TRIGGER newsletters_subscription_gone ON newsletters_subscription;
DROP TRIGGER newsletters_subscription_truncated ON newsletters_subscription;
DROP TRIGGER newsletters_subscription_keys ON newsletters_subscription;
DROP FUNCTION newsletters_delivery_added(), newsletters_subscription_gone(), newsletters_issue_gone(),
    newsletters_refuse_truncate(), newsletters_refuse_new_key();
"""
# One writer at a time: nothing changes between a check and its commit.
SQLITE = {
    "newsletters_delivery_subscription": """
        BEFORE INSERT ON newsletters_delivery
        WHEN NEW.subscription_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM newsletters_subscription s JOIN newsletters_issue i ON i.newsletter_id = s.newsletter_id
            WHERE s.id = NEW.subscription_id AND i.id = NEW.issue_id)
        BEGIN SELECT RAISE(ABORT, 'FOREIGN KEY: a ledger row names a subscription that is not there'); END""",
    "newsletters_subscription_gone": """
        AFTER DELETE ON newsletters_subscription
        BEGIN UPDATE newsletters_delivery SET subscription_id = NULL, merge = NULL, reply_text = NULL
            WHERE issue_id IN (SELECT id FROM newsletters_issue WHERE newsletter_id = OLD.newsletter_id)
              AND subscription_id = OLD.id; END""",
    "newsletters_delivery_keys": """
        BEFORE UPDATE OF issue_id, subscription_id ON newsletters_delivery
        WHEN NEW.issue_id <> OLD.issue_id OR (NEW.subscription_id IS NOT NULL
            AND NEW.subscription_id IS NOT OLD.subscription_id)
        BEGIN SELECT RAISE(ABORT, 'a ledger row keeps its keys'); END""",
    "newsletters_issue_keys": """
        BEFORE UPDATE OF id, newsletter_id ON newsletters_issue
        WHEN NEW.id <> OLD.id OR NEW.newsletter_id <> OLD.newsletter_id
        BEGIN SELECT RAISE(ABORT, 'an issue keeps its keys'); END""",
    "newsletters_subscription_keys": """
        BEFORE UPDATE OF id, newsletter_id ON newsletters_subscription
        WHEN NEW.id <> OLD.id OR NEW.newsletter_id <> OLD.newsletter_id
        BEGIN SELECT RAISE(ABORT, 'a subscription keeps its keys'); END""",
}


def drop_old(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP_POSTGRESQL)
        return
    # Also because SQLite refuses to remake a table that a trigger names.
    schema_editor.execute("DROP TRIGGER newsletters_delivery_subscription_fk")


def make_old(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute(OLD_POSTGRESQL if schema_editor.connection.vendor == "postgresql" else OLD_SQLITE)


def guard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL, params=None)
        return
    for name, body in SQLITE.items():
        schema_editor.execute(f"CREATE TRIGGER {name} {body}")


def unguard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(UNDO_POSTGRESQL, params=None)
        return
    for name in SQLITE:
        schema_editor.execute(f"DROP TRIGGER {name}")


class Migration(migrations.Migration):
    dependencies = [("newsletters", "0003_limits_and_archive")]
    operations = [
        migrations.RunPython(drop_old, make_old),
        migrations.AlterField(
            model_name="delivery",
            name="subscription",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="deliveries",
                to="newsletters.subscription",
            ),
        ),
        migrations.RemoveConstraint(model_name="delivery", name="delivery_once"),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(fields=("issue", "subscription"), name="delivery_once"),
        ),
        migrations.RunPython(guard, unguard),
    ]
