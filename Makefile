# make install      .venv with everything, in the pinned versions
# make quickstart   from the games to a report, on this machine, in some 20 minutes
# make test         lint, types and the tests
# make evidence     what the tests leave out: the same for every config, encoder and way to be killed
# make fast         lint, types and the quick tests, in a minute or so
# make coverage     the tests, with the share of lines that they run
# make docs         the site, into docs/build; a warning is an error
# make notebooks    docs/notebooks, run from end to end
# make release      wheel, source distribution and the encoder that ships, with their hashes
# All set up .venv from constraints.txt where it is missing.

PYTHON ?= python3
RUN := runs/quickstart
GAMES := pong breakout freeway
FOVEA := .venv/bin/fovea

# Screens, updates and agent steps of the quickstart; smaller ones make it shorter still.
STEPS ?= 20000
UPDATES ?= 200
SAMPLES ?= 4000
DQN_STEPS ?= 6000
PPO_STEPS ?= 8192
EPISODES ?= 5

# What tests and docs need beside the package, and in which versions.
EXTRAS := dev,captum,docs,figures,minari,onnx,ray,readers,sb3,tensorboard,transformers
PINNED ?= --constraint constraints.txt

.PHONY: install quickstart test coverage fast evidence lint types docs notebooks constraints ship release

install: .venv/ready

quickstart: .venv/ready
	@echo; echo "== 1/5  collect: games into recordings, random policy"
	$(FOVEA) atari collect $(GAMES) --out $(RUN)/recordings --steps $(STEPS)
	@echo; echo "== 2/5  pretrain: encoders from recordings, without rewards"
	$(FOVEA) pretrain fit -c tov_vicreg --run $(RUN)/tov_vicreg \
	    --data.recordings '[$(RUN)/recordings]' --trainer.max_steps $(UPDATES)
	$(FOVEA) pretrain fit -c recipe --run $(RUN)/recipe \
	    --data.recordings '[$(RUN)/recordings]' --trainer.max_steps $(UPDATES)
	@echo; echo "== 3/5  probe: what the encoders see, beside an untrained one and raw pixels"
	$(FOVEA) probes run --encoder tov_vicreg=$(RUN)/tov_vicreg --encoder recipe=$(RUN)/recipe \
	    --recordings $(RUN)/recordings --run $(RUN)/probes --samples $(SAMPLES) \
	    --probe state --probe attention --probe collapse --probe sparsity --probe action
	@echo; echo "== 4/5  play: agents on the frozen encoder; so few steps show the way, and no skill"
	$(FOVEA) agents fit -c dqn_frozen --run $(RUN)/dqn \
	    --model.encoder.encoder $(RUN)/recipe --data.total_steps $(DQN_STEPS)
	$(FOVEA) agents evaluate --run $(RUN)/dqn --episodes $(EPISODES) --video
	$(FOVEA) agents fit -c ppo_frozen --run $(RUN)/ppo \
	    --model.encoder.encoder $(RUN)/recipe --data.total_steps $(PPO_STEPS)
	$(FOVEA) agents evaluate --run $(RUN)/ppo --episodes $(EPISODES) --video
	@echo; echo "== 5/5  report"
	$(FOVEA) analysis report $(RUN) --out $(RUN)/report

test: lint types
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not evidence"

# UMAP compiles for a minute, and W&B and MLflow are large: too much for the other tests.
evidence: .venv/ready
	.venv/bin/pip install --quiet $(PINNED) --editable '.[loggers,umap,ocatari]'
	.venv/bin/pip install --quiet --no-deps ocatari
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m evidence

# Which lines the tests run, of the package and its rooms: they cost half as much again.
coverage: .venv/ready
	.venv/bin/pip install --quiet pytest-cov
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not evidence" --cov-report term:skip-covered \
	    $(addprefix --cov=,fovea atari pretrain agents probes analysis)

fast: lint types
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not slow and not browser and not evidence"

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/ready
	.venv/bin/mypy

.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PINNED) --editable '.[$(EXTRAS)]'
	touch $@

docs: .venv/ready
	.venv/bin/python -m sphinx -E -W --keep-going -q -b html docs docs/build
	@echo "docs/build/index.html"

# Runs them from end to end and keeps what they show.
notebooks: .venv/ready
	.venv/bin/pip install --quiet $(PINNED) --editable '.[notebooks,readers]'
	.venv/bin/jupyter nbconvert --to notebook --execute --inplace docs/notebooks/*.ipynb
	.venv/bin/python docs/without_stderr.py docs/notebooks/*.ipynb

# Exact pins of everything, as pip resolves them today in a venv of their own.
constraints:
	rm -rf .venv-pins
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/pip install '.[$(EXTRAS),notebooks]' torch==2.14.1 torchvision==0.29.1
	.venv-pins/bin/pip freeze --exclude fovea-rl > constraints.txt
	rm -rf .venv-pins build

# The encoder that comes with Fovea, with its card, of a run and of what was measured of it:
#   make ship ENCODER=runs/recipe PROBES="runs/probes" AGENTS="runs/dqn runs/ppo"
SHIPPED := pretrain/shipped/vit_micro
ship: .venv/ready
	$(FOVEA) hub card $(ENCODER) --write --as pretrained:vit_micro \
	    $(if $(PROBES),--probes $(PROBES)) $(if $(AGENTS),--agents $(AGENTS))
	rm -rf $(SHIPPED)
	$(FOVEA) hub push $(ENCODER) $(SHIPPED)

# Wheel, source distribution and the encoder that ships, of what is committed, checked, with their
# hashes: dist/.
release: .venv/ready
	@test -z "$$(git status --porcelain)" || { echo "commit or remove what git status shows, then run it again"; exit 1; }
	@.venv/bin/python -c 'from pathlib import Path; from fovea import __version__ as v; \
	    assert f"## {v} (20" in Path("CHANGELOG.md").read_text(), f"CHANGELOG.md has no date for {v}"; \
	    assert f"version: {v}\n" in Path("CITATION.cff").read_text(), f"CITATION.cff is not of {v}"'
	.venv/bin/pip install --quiet build twine
	rm -rf dist build
	.venv/bin/python -m build --outdir dist
	.venv/bin/twine check --strict dist/*
	git archive --format tar.gz --prefix vit_micro/ --output dist/vit_micro.tar.gz HEAD:$(SHIPPED)
	cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS
