.DEFAULT_GOAL := help
.PHONY: demo test mutants lint requirements openapi bench soak soak-memory recovery help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Send a sample issue to 1,000 readers, then serve the site (ONCE=1: stop after the summary)
	@.ci/packages demo
	@.ci/venv demo
	@DEBUG=1 .venv/bin/python manage.py demo $(if $(ONCE),--once)

test: ## Run lint and all tests against throwaway servers (T=tests/core: a part of them)
	@.ci/packages test
	@.ci/venv dev
	@.ci/node
	@.ci/test $(T)

mutants: ## Break a copy of the code in known ways, and demand that a test sees each, 20 minutes (ONLY=name,name)
	@.ci/packages test
	@.ci/venv dev
	@.venv/bin/python -m tests.faults.mutation $(ONLY) $(A)

lint: ## Check style, types, layering, migrations and the deployment settings
	@.ci/packages demo
	@.ci/venv dev
	@.ci/lint

bench: ## Measure everything, about 25 minutes (JSON=FILE; ONLY=c,d: parts; A="--readers 5000": options)
	@.ci/packages bench
	@.ci/venv dev
	@.venv/bin/python -m benchmarks $(if $(JSON),--json '$(JSON)') $(if $(ONLY),--only '$(ONLY)') $(A)

soak: SEED := $(shell date +%s)
soak: N := 20
soak: ## Play random schedules of faults on both brokers (N=100: so many on each; SEED=1: the first)
	@.ci/packages test
	@.ci/venv dev
	@echo "$(N) schedules on each broker, the first of seed $(SEED). One again: make soak N=1 SEED=…"
	@COURANT_SOAK=$(N) COURANT_SOAK_SEED=$(SEED) .venv/bin/python -m pytest tests/faults/test_schedules.py -n 3 -q

soak-memory: READERS := 2000000
soak-memory: SECONDS := 0
soak-memory: BROKER := rabbitmq
soak-memory: ## Send mails of 1 MB to READERS=2000000 and watch a worker's memory (SECONDS=300: cancel then; BROKER=redis)
	@.ci/packages test
	@.ci/venv dev
	@COURANT_SOAK_READERS=$(READERS) COURANT_SOAK_SECONDS=$(SECONDS) COURANT_SOAK_BROKER=$(BROKER) \
		.venv/bin/python -m pytest tests/faults/memory.py -q -rP

recovery: ## Measure how long it takes until mails leave again after a fault, with the default settings (10 minutes)
	@.ci/packages test
	@.ci/venv dev
	@.venv/bin/python -m pytest tests/faults/recovery_times.py -n 3 -q -rP

openapi: ## Write the contracts of the APIs (docs/openapi.json, accounts/doors/openapi.json) as the code has them
	@.ci/packages demo
	@.ci/venv dev
	@DEBUG=1 .venv/bin/python manage.py export_openapi_schema --api config.api.api --indent 1 --output docs/openapi.json
	@echo >>docs/openapi.json
	@DEBUG=1 .venv/bin/python manage.py export_account_openapi

requirements: ## Choose the newest allowed versions and write requirements/*.txt
	@.ci/packages demo
	@.ci/venv dev
	@for name in base demo dev; do \
		.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make requirements' \
			--output-file requirements/$$name.txt requirements/$$name.in || exit 1; \
	done
