/* main.c - the `agentlink` program. Everything is in the library part so that tests can call it. */
#include "cli/cli.h"
#include "os/standard.h"

int main(int argc, char **argv)
{
    if (al_standard_guard())
        return ALI_EXIT_REFUSED;
    return ali_main(argc, argv);
}
