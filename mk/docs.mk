# The documentation as a site; that its code blocks are true is tests/docs, part of `make test`.

.PHONY: docs

docs: deps-test ## build the site of docs/ into build/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build -q --strict
	@echo build/site/index.html
