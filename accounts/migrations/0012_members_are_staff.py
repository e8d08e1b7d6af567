from django.db import migrations


def let_members_in(apps, _schema_editor):
    # From now on whoever belongs to a publisher may open the admin, which shows them what their role lets them see.
    members = apps.get_model('accounts', 'Membership').objects.values('user')
    apps.get_model('accounts', 'User').objects.filter(pk__in=members, is_staff=False).update(is_staff=True)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_known_devices'),
    ]

    operations = [
        migrations.RunPython(let_members_in, migrations.RunPython.noop),
    ]
