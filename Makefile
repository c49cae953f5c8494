# Each target is one line of the `mesh` command, which installs itself on its first run. It has more
# options: cli/mesh --help. Another Python than python3: make PYTHON=/path/to/python3.12 up

.DEFAULT_GOAL := help
.PHONY: help up status logs down models test test-full test-cluster check env protos compile images soak load

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

up: ## Start the mesh: install what is missing, train the first model, show how to call it
	@cli/mesh up

status: ## Show each process of the mesh
	@cli/mesh status

logs: ## Show what the processes of the mesh have written (cli/mesh logs --follow goes on)
	@cli/mesh logs

down: ## End the mesh
	@cli/mesh down

models: ## Train the full models, and those that they are compared with: an hour on two cores, minutes on a GPU
	@cli/mesh models train classifier --data films
	@cli/mesh models train classifier --data cleaned
	@cli/mesh models train classifier --data all
	@cli/mesh models train embedder
	@cli/mesh models train llm
	@cli/mesh models list

test: ## Install what is missing and run every test
	@cli/mesh test

test-full: ## Run the tests that need more than a plain machine
	@cli/mesh test --full

test-cluster: ## Run the mesh on a Kubernetes and disturb it (tests/cluster/README.md says on which)
	@cli/mesh env tests
	@cd tests && .venv/bin/python -m pytest cluster -m cluster -v --log-cli-level=INFO

soak: ## Send 100,000 bad requests and 200,000 good ones, and watch what the gateway holds on to
	@cli/mesh env gateway
	@gateway/.venv/bin/python loadtests/soak/bad_input.py
	@gateway/.venv/bin/python loadtests/soak/good_input.py

load: ## Ask more and more of the mesh, or of MESH_LOAD_URL, and write a report with plots
	@cli/mesh env loadtests
	@loadtests/.venv/bin/python -m mesh_load

check: ## Check style, types, the rules between the rooms, and the contracts
	@cli/mesh check

env: ## Build the environment of every room
	@cli/mesh env

protos: ## Generate the stubs of the contracts anew
	@cli/mesh protos

compile: ## Compile the requirements files from the pyproject.toml files
	@cli/mesh compile

images: ## Build the images of what serves (IMAGES=llm, TAG=..., ACCELERATOR=gpu, BUILDER='buildah build')
	@cli/mesh images $(IMAGES) --builder "$(or $(BUILDER),docker build)" --accelerator "$(or $(ACCELERATOR),cpu)" --tag "$(TAG)"
