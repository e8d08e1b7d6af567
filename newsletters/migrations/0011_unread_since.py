from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('newsletters', '0010_relay_trials'),
    ]

    operations = [
        migrations.AddField(
            model_name='issue',
            name='unread_since',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
