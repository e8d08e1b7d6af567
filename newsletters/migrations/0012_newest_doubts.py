from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('newsletters', '0011_unread_since'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'held')), fields=['id'], name='delivery_held_newest'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('uncertain', True)), fields=['id'], name='delivery_uncertain_newest'),
        ),
    ]
