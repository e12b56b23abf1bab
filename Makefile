# make quickstart   from the games to a report, on this machine, in some 20 minutes
# make test         lint, types and the tests
# make evidence     what the tests leave out: the same for every config, encoder and way to be killed
# make fast         lint, types and the quick tests, in a minute or so
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

.PHONY: quickstart test fast evidence lint types types-baseline constraints

quickstart: .venv/ready
	@echo; echo "== 1/5  collect: games into recordings, random policy"
	$(FOVEA) atari collect $(GAMES) --out $(RUN)/recordings --steps $(STEPS)
	@echo; echo "== 2/5  pretrain: encoders from recordings, without rewards"
	$(FOVEA) pretrain fit -c tov_vicreg --run $(RUN)/tov_vicreg \
	    --data.recordings '[$(RUN)/recordings]' --trainer.max_steps $(UPDATES)
	$(FOVEA) pretrain fit -c vicreg --run $(RUN)/vicreg \
	    --data.recordings '[$(RUN)/recordings]' --trainer.max_steps $(UPDATES)
	@echo; echo "== 3/5  probe: what the encoders see, beside an untrained one and raw pixels"
	$(FOVEA) probes run --encoder tov_vicreg=$(RUN)/tov_vicreg --encoder vicreg=$(RUN)/vicreg \
	    --recordings $(RUN)/recordings --run $(RUN)/probes --samples $(SAMPLES)
	@echo; echo "== 4/5  play: agents on the frozen encoder; so few steps show the way, and no skill"
	$(FOVEA) agents fit -c dqn_frozen --run $(RUN)/dqn --data.total_steps $(DQN_STEPS)
	$(FOVEA) agents evaluate --run $(RUN)/dqn --episodes $(EPISODES) --video
	$(FOVEA) agents fit -c ppo_frozen --run $(RUN)/ppo --data.total_steps $(PPO_STEPS)
	$(FOVEA) agents evaluate --run $(RUN)/ppo --episodes $(EPISODES) --video
	@echo; echo "== 5/5  report"
	$(FOVEA) analysis report $(RUN) --out $(RUN)/report

test: lint types
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not evidence"

evidence: .venv/ready
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m evidence

fast: lint types
	.venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not slow and not browser and not evidence"

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/ready
	.venv/bin/python tests/mypy_ratchet.py

# What there is now becomes what may be: after mending some, or after a move.
types-baseline: .venv/ready
	.venv/bin/python tests/mypy_ratchet.py --write

.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --constraint constraints.txt --editable '.[dev,captum,sb3,onnx,readers,tensorboard]'
	touch $@

# Exact pins of everything, as pip resolves them today in a venv of their own.
constraints:
	rm -rf .venv-pins
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/pip install '.[dev,captum,sb3,onnx,readers,tensorboard]' torch==2.14.1 torchvision==0.29.1
	.venv-pins/bin/pip freeze --exclude fovea-rl > constraints.txt
	rm -rf .venv-pins build
