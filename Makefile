# Each target is one line of the `mesh` command, which installs itself on its first run. Options go to
# the command itself: cli/.venv/bin/mesh --help

PYTHON ?= python3
MESH := $(PYTHON) cli/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help up status logs down test test-full check env protos compile

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

up: ## Start the mesh: install what is missing, train the first model, show how to call it
	@$(MESH) up

status: ## Show each process of the mesh
	@$(MESH) status

logs: ## Show what the processes of the mesh have written (mesh logs --follow goes on)
	@$(MESH) logs

down: ## End the mesh
	@$(MESH) down

test: ## Install what is missing and run every test
	@$(MESH) test

test-full: ## Run the tests that need more than a plain machine
	@$(MESH) test --full

check: ## Check style, types, the rules between the rooms, and the contracts
	@$(MESH) check

env: ## Build the environment of every room
	@$(MESH) env

protos: ## Generate the stubs of the contracts anew
	@$(MESH) protos

compile: ## Compile the requirements files from the pyproject.toml files
	@$(MESH) compile
