from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('newsletters', '0008_needs_a_person'),
    ]

    operations = [
        migrations.AddField(
            model_name='issue',
            name='failing_since',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
