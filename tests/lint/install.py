#!/usr/bin/python3
"""install.py - "make install" puts everything in its place, and what it installs can be used.

    install.py BUILD_DIR

Installs into a temporary directory, then builds a C and a C++ program against it by pkg-config
and runs them.
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

import files
from report import Report

PROGRAM = """
#include <agentlink/agentlink.h>
#include <stdio.h>

int main(void)
{
    struct al_client_options options = {};
    struct al_client *client = nullptr_;
    struct al_message message;

    options.node = "inproc:install-test";
    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.payload = "x";
    message.payload_size = 1;
    if (al_client_open(&options, &client) < 0)
        return 1;
    if (al_attach(client, "b", nullptr_) < 0 || al_send(client, &message, 5000, nullptr_) < 0)
        return 2;
    puts("sent");
    return al_client_close(client, 1000) < 0;
}
"""

# What must be there, relative to the prefix.
EXPECTED = ["bin/agentlinkd", "bin/agentlink", "include/agentlink/agentlink.h",
            "LIB/libagentlink.so", "LIB/pkgconfig/agentlink.pc", "share/man/man1/agentlink.1*",
            "share/man/man*/agentlinkd.*", "share/bash-completion/completions/agentlink",
            "lib/systemd/system/agentlinkd.service"]


def run(command, **options):
    """(exit code, output) of a command."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False, **options)
    return result.returncode, result.stdout


def missing(prefix, libdir):
    """Expected files that were not installed."""
    for name in EXPECTED:
        if not glob.glob(os.path.join(prefix, name.replace("LIB", libdir))):
            yield name


def build_and_run(folder, libraries, compiler, suffix, null):
    """Problems of compiling and running PROGRAM against the installation."""
    source = os.path.join(folder, "use" + suffix)
    with open(source, "w", encoding="utf-8") as file:
        file.write(PROGRAM.replace("nullptr_", null))
    env = dict(os.environ, PKG_CONFIG_PATH=libraries + "/pkgconfig", LD_LIBRARY_PATH=libraries,
               PKG_CONFIG_SYSROOT_DIR=folder + "/root")
    code, flags = run(["pkg-config", "--cflags", "--libs", "agentlink"], env=env)
    if code:
        return ["pkg-config: " + flags]
    program = os.path.join(folder, "use-" + os.path.basename(compiler))
    code, output = run([compiler, "-Wall", "-Wextra", "-Werror", source, "-o", program] +
                       flags.split())
    if code:
        return [output]
    code, output = run([program], env=env, timeout=60)
    return [] if code == 0 and output == "sent\n" else ["exit code %d: %s" % (code, output)]


def main():
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        code, output = run(["meson", "install", "-C", sys.argv[1], "--no-rebuild", "--destdir",
                            os.path.join(folder, "root")], cwd=files.ROOT)
        report.point("meson install", [] if code == 0 else [output])
        options = json.loads(run(["meson", "introspect", "--buildoptions", sys.argv[1]])[1])
        value = {option["name"]: option["value"] for option in options}
        prefix = folder + "/root" + value["prefix"]
        libraries = os.path.join(prefix, value["libdir"])
        report.point("every part is installed", list(missing(prefix, value["libdir"])))
        report.point("a C program", build_and_run(folder, libraries, "gcc", ".c", "NULL"))
        report.point("a C++ program", build_and_run(folder, libraries, "g++", ".cc", "nullptr"))
        report.point("agentlink runs from there", version_problem(prefix, libraries))
    return report.done()


def version_problem(prefix, libraries):
    """[] if the installed command line starts."""
    program = os.path.join(prefix, "bin", "agentlink")
    if not os.path.exists(program):
        return ["not installed"]
    code, output = run([program, "--version"], env=dict(os.environ,
                                                        LD_LIBRARY_PATH=libraries))
    return [] if code == 0 and "0.1" in output else ["exit code %d: %s" % (code, output)]


if __name__ == "__main__":
    sys.exit(main())
