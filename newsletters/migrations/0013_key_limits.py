import django.db.models.deletion
from django.db import migrations, models


def take_over(apps, _schema_editor):
    # The table that the key's own list of newsletters was kept in; the next migration of accounts removes it.
    known = apps.get_model('accounts', 'ApiKey').newsletters.through.objects
    limits = apps.get_model('newsletters', 'KeyLimit')
    pairs = known.values_list('apikey_id', 'newsletter_id')
    limits.objects.bulk_create((limits(api_key_id=key, newsletter_id=one) for key, one in pairs), batch_size=1000)


def give_back(apps, _schema_editor):
    through = apps.get_model('accounts', 'ApiKey').newsletters.through
    pairs = apps.get_model('newsletters', 'KeyLimit').objects.values_list('api_key_id', 'newsletter_id')
    through.objects.bulk_create((through(apikey_id=key, newsletter_id=one) for key, one in pairs), batch_size=1000)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_request_log'),
        ('newsletters', '0012_newest_doubts'),
    ]

    operations = [
        migrations.CreateModel(
            name='KeyLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('api_key', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='limits', to='accounts.apikey')),
                ('newsletter', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='key_limits', to='newsletters.newsletter')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('api_key', 'newsletter'), name='key_limit_once')],
            },
        ),
        migrations.RunPython(take_over, give_back),
    ]
