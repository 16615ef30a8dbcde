# What contributors run; each target sets .venv up first if it has to.
.PHONY: fast test lint

fast:  ## a subset of the tests, at most 3 minutes on 2 cores: after each edit
	bash tests/run.sh -m "not slow and not download"

test:  ## all tests
	bash tests/run.sh

lint:  ## what CI checks before the tests
	PYTHON="$$(bash launch/setup.sh --test)" && \
	"$$PYTHON" -m ruff check . && "$$PYTHON" -m ruff format --check . && "$$PYTHON" -m mypy .
