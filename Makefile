# Each word is one script, for machines without make.
.PHONY: run test check lock
run: ; @scripts/run
test: ; @scripts/test
check: ; @scripts/check
lock: ; @scripts/lock
