from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_request_log'),
        # Which has taken the rows over.
        ('newsletters', '0013_key_limits'),
    ]

    operations = [
        migrations.RemoveField(model_name='apikey', name='newsletters'),
    ]
