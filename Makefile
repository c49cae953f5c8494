# Every target is a line of the `mesh` command; `mesh --help` has more.
# The first run of any of them installs the command itself.

PYTHON ?= python3
MESH := $(PYTHON) cli/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help up down status logs test test-full check protos compile env

help:  ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

env:  ## Build every room's environment
	@$(MESH) env

compile:  ## Compile every requirements file anew
	@$(MESH) compile
