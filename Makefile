# The front door. Meson does the work; every target first installs what it needs and says so.
#
#   make            release build, programs in build/bin/
#   make help       all targets

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=

# Debian packages, by what they are needed for.
NEED_BUILD := gcc libc6-dev meson ninja-build pkg-config libsodium-dev libjansson-dev libssl-dev
NEED_TEST  := $(NEED_BUILD) g++ clang clang-format-14 clang-tidy-14 cppcheck libclang-rt-14-dev \
              libcmocka-dev python3 python3-pytest python3-pytest-xdist strace binutils groff-base
NEED_DEMO  := $(NEED_BUILD) python3
NEED_FORMAT := clang-format-14

.PHONY: all demo force-graph reliable-team test bench soak lint install format clean help
.DEFAULT_GOAL := all

all: ## release build; programs in build/bin/
	@tools/need $(NEED_BUILD)
	@test -f $(BUILD)/build.ninja || \
	    meson setup $(BUILD) --buildtype=release --prefix=$(PREFIX) -Dtests=disabled
	@ninja -C $(BUILD)
	@tools/link-bin $(BUILD)

demo: all ## a team of agents at work while agents and node are killed
	@tools/need $(NEED_DEMO)
	@examples/demo/run $(BUILD)/bin

force-graph: all ## example: two agents lay out a graph; writes build/force_graph.svg
	@$(BUILD)/examples/force_graph/force_graph --svg $(BUILD)/force_graph.svg

reliable-team: all ## example: a team talks in turns on every bus while members and nodes are killed
	@$(BUILD)/examples/reliable_team/reliable_team $(BUILD)/bin

test: ## every suite, also under sanitizers; last line: N passed, M failed
	@tools/need $(NEED_TEST)
	@tools/test-all

bench: all ## throughput, latency, memory and start-up, with ratios
	@$(BUILD)/bin/al_bench

soak: ## hours rather than minutes: long simulation and fuzzing, exhaustive damage, kill loops
	@tools/need $(NEED_TEST)
	@tools/test-all --soak

lint: ## format, clang-tidy, cppcheck, tidy, symbol purity, headers
	@tools/need $(NEED_TEST)
	@tools/test-all --only lint

install: all ## programs, library, headers, pkg-config file, man pages, completion
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD)

format: ## clang-format over every source file
	@tools/need $(NEED_FORMAT)
	@find src include sim bench tests fuzz examples -name '*.[ch]' -print0 2>/dev/null | \
	    xargs -0 -r clang-format-14 -i

clean: ## removes build/
	@rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | tr '@' '\t' | expand -t 20
