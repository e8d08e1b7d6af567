"""What Django's models cannot say: an append-only consent log and a key that the database sets null."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

POSTGRESQL = """
CREATE FUNCTION newsletters_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the consent log is append-only' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER newsletters_consentevent_append_only BEFORE UPDATE ON newsletters_consentevent
    FOR EACH ROW EXECUTE FUNCTION newsletters_refuse_update();
ALTER TABLE newsletters_delivery ADD CONSTRAINT newsletters_delivery_subscription_fk
    FOREIGN KEY (subscription_id) REFERENCES newsletters_subscription (id) ON DELETE SET NULL;
"""
SQLITE = """
CREATE TRIGGER newsletters_consentevent_append_only BEFORE UPDATE ON newsletters_consentevent
BEGIN SELECT RAISE(ABORT, 'the consent log is append-only'); END;
CREATE TRIGGER newsletters_delivery_subscription_fk AFTER DELETE ON newsletters_subscription
BEGIN UPDATE newsletters_delivery SET subscription_id = NULL WHERE subscription_id = OLD.id; END;
"""


def guard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    if connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)
        return
    for statement in SQLITE.split("END;"):
        if statement.strip():
            schema_editor.execute(statement + "END;")


def unguard(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE newsletters_delivery DROP CONSTRAINT newsletters_delivery_subscription_fk")
        schema_editor.execute("DROP TRIGGER newsletters_consentevent_append_only ON newsletters_consentevent")
        schema_editor.execute("DROP FUNCTION newsletters_refuse_update()")
        return
    schema_editor.execute("DROP TRIGGER newsletters_consentevent_append_only")
    schema_editor.execute("DROP TRIGGER newsletters_delivery_subscription_fk")


class Migration(migrations.Migration):
    dependencies = [("newsletters", "0001_initial")]
    operations = [migrations.RunPython(guard, unguard)]
