/* agentlinkd.c - the daemon: options, one node, one line when it serves.
 *
 * Exit codes: 0 stopped as asked; 1 the operating system refused something (memory, a directory);
 * 2 usage or configuration, a directory or socket that another process uses included; 3 the journal
 * failed to write; 4 stored data is damaged. */
#include "base/errors.h"
#include "base/limits.h"
#include "node/config.h"
#include "node/network.h"
#include "node/runner.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/file_disk.h"
#include "os/memory.h"
#include "os/sandbox.h"
#include "os/standard.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EXIT_OK = 0,
    EXIT_SYSTEM = 1,
    EXIT_USAGE = 2,
    EXIT_POISONED = 3,
    EXIT_DAMAGED = 4,
};

struct daemon {
    const char *data;
    const char *listen[AL_CONFIG_LISTEN_MAX + 1]; /* addresses as given */
    unsigned listen_count;
    const char *config_path;
    const char *log_level;
    struct al_config config;
    struct al_memory memory;
    struct al_logger logger;
    char name[AL_NAME_PART_MAX + 1];
    char default_data[PATH_MAX], default_listen[PATH_MAX];
    const char *paths[AL_CONFIG_LISTEN_MAX + 1]; /* socket paths */
    unsigned sandbox;                            /* what is in force of it */
    const char *links[AL_CONFIG_LISTEN_MAX + 1]; /* HOST:PORT for TLS */
    struct al_network *network;                  /* NULL: nothing from elsewhere */
    struct al_runner *runner;
};

/* For the signal handler: what to stop, and whether a signal came before there was anything. */
static struct al_runner *_Atomic stop_runner;
static _Atomic int stop_wanted;

static void fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail_usage(const char *format, ...)
{
    va_list args;

    fputs("agentlinkd: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_USAGE);
}

/* ---- options ----------------------------------------------------------------------------- */

enum { KEY_DATA = 256, KEY_LISTEN, KEY_HTTP, KEY_CONFIG, KEY_LOG_LEVEL, KEY_VERSION };

static const struct argp_option options[] = {
    {"data", KEY_DATA, "DIR", 0,
     "Directory of the journal (default: /var/lib/agentlink for root, else "
     "~/.local/share/agentlink)",
     0},
    {"listen", KEY_LISTEN, "ADDRESS", 0,
     "unix:PATH or tls:HOST:PORT to listen on; may be repeated (default: agentlink.sock in "
     "/run/agentlink for root, else in $XDG_RUNTIME_DIR, and nothing on the network)",
     0},
    {"http", KEY_HTTP, "HOST:PORT", OPTION_HIDDEN, "", 0},
    {"config", KEY_CONFIG, "FILE", 0, "Configuration file (JSON); options win over it", 0},
    {"log-level", KEY_LOG_LEVEL, "LEVEL", 0, "debug, info (default), warning or error", 0},
    {"version", KEY_VERSION, 0, 0, "Print the version", -1},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct daemon *daemon = state->input;

    switch (key) {
    case KEY_DATA:
        daemon->data = arg;
        return 0;
    case KEY_LISTEN:
        if (daemon->listen_count == AL_CONFIG_LISTEN_MAX)
            fail_usage("--listen can be given %u times at most", AL_CONFIG_LISTEN_MAX);
        daemon->listen[daemon->listen_count++] = arg;
        return 0;
    case KEY_HTTP:
        fail_usage("--http %s: this version has no HTTP; leave the option out", arg);
    case KEY_CONFIG:
        daemon->config_path = arg;
        return 0;
    case KEY_LOG_LEVEL:
        daemon->log_level = arg;
        return 0;
    case KEY_VERSION:
        puts("agentlinkd " AL_VERSION);
        exit(EXIT_OK);
    case ARGP_KEY_ARG:
        fail_usage("unexpected argument \"%s\"; try --help", arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc = "A node that carries messages between agents and never loses one."
           "\vIt prints one line on standard output once it serves: ready and name=value pairs. "
           "SIGTERM and SIGINT stop it cleanly.\n\nExit status: 0 stopped as asked; 1 the system "
           "refused something; 2 usage, configuration, or directory or socket in use; 3 the "
           "journal could not be written; 4 stored data is damaged (see: agentlink journal "
           "verify DIR)."};

/* ---- configuration file ------------------------------------------------------------------ */

/* The whole file; the caller frees. */
static char *read_file(const char *path, size_t *ret_size)
{
    char *text = malloc(AL_CONFIG_BYTES_MAX + 1);
    FILE *file = fopen(path, "re");

    if (!text || !file)
        fail_usage("%s: %s", path, strerror(errno));
    *ret_size = fread(text, 1, AL_CONFIG_BYTES_MAX + 1, file);
    if (ferror(file))
        fail_usage("%s: %s", path, strerror(errno));
    fclose(file);
    return text;
}

static void load_config(struct daemon *daemon)
{
    char why[512];
    size_t size;
    char *text;

    al_config_init(&daemon->config);
    if (!daemon->config_path)
        return;
    text = read_file(daemon->config_path, &size);
    if (al_config_parse(&daemon->config, text, size, why, sizeof why))
        fail_usage("%s: %s", daemon->config_path, why);
    free(text);
}

/* ---- defaults ---------------------------------------------------------------------------- */

static void default_data(struct daemon *daemon)
{
    const char *home = getenv("HOME");

    if (geteuid() == 0)
        snprintf(daemon->default_data, sizeof daemon->default_data, "/var/lib/agentlink");
    else if (home && home[0])
        snprintf(daemon->default_data, sizeof daemon->default_data, "%s/.local/share/agentlink",
                 home);
    else
        fail_usage("HOME is not set; say --data DIR");
    daemon->data = daemon->default_data;
}

static void default_listen(struct daemon *daemon)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0) {
        if (mkdir("/run/agentlink", 0755) && errno != EEXIST)
            fail_usage("/run/agentlink: %s; say --listen unix:PATH", strerror(errno));
        runtime = "/run/agentlink";
    }
    if (!runtime || !runtime[0])
        fail_usage("XDG_RUNTIME_DIR is not set; say --listen unix:PATH");
    snprintf(daemon->default_listen, sizeof daemon->default_listen, "unix:%s/agentlink.sock",
             runtime);
}

/* Unix sockets and TLS ports apart. A node that is reached from elsewhere is also on this machine:
 * that is where it is administered. */
static void sort_addresses(struct daemon *daemon)
{
    unsigned paths = 0, links = 0;

    for (unsigned i = 0; i < daemon->listen_count; i++) {
        const char *address = daemon->listen[i];

        if (strncmp(address, "tls:", 4) == 0 && address[4])
            daemon->links[links++] = address + 4;
        else if (strncmp(address, "unix:", 5) == 0 && address[5])
            daemon->paths[paths++] = address + 5;
        else
            fail_usage("address %s: not one to listen on; say unix:PATH or tls:HOST:PORT", address);
    }
    if (paths == 0) {
        default_listen(daemon);
        daemon->paths[0] = daemon->default_listen + 5;
    }
}

/* Options, then the file, then defaults. */
static void settle(struct daemon *daemon)
{
    enum al_log_level level = AL_LOG_INFO;

    if (!daemon->data)
        daemon->data = daemon->config.data;
    if (!daemon->data)
        default_data(daemon);
    for (unsigned i = 0; daemon->config.listen[i] && (i > 0 || !daemon->listen_count); i++)
        daemon->listen[daemon->listen_count++] = daemon->config.listen[i];
    sort_addresses(daemon);
    if (!daemon->log_level)
        daemon->log_level = daemon->config.log_level;
    if (daemon->log_level && al_log_level_parse(daemon->log_level, &level))
        fail_usage("log level %s: allowed are debug, info, warning, error", daemon->log_level);
    al_logger_init(&daemon->logger, STDERR_FILENO, level);
}

/* The host's name made into a node's name. */
static void default_name(struct daemon *daemon)
{
    char host[HOST_NAME_MAX + 1] = "";
    size_t n = 0;

    gethostname(host, sizeof host - 1);
    for (const char *p = host; *p && n < AL_NAME_PART_MAX; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("._-", c))
            daemon->name[n++] = c;
    }
    if (n == 0)
        snprintf(daemon->name, sizeof daemon->name, "node");
}

/* ---- running ----------------------------------------------------------------------------- */

static void on_stop(int signal_number)
{
    struct al_runner *runner = stop_runner;

    (void)signal_number;
    stop_wanted = 1;
    if (runner)
        al_runner_stop(runner);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* 10,000 connections need as many descriptors. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int exit_code(int error)
{
    switch (error) {
    case 0:
        return EXIT_OK;
    case -AL_E_POISONED:
    case -AL_E_DISK_FULL:
        return EXIT_POISONED;
    case -AL_E_DAMAGED:
        return EXIT_DAMAGED;
    case -AL_E_LOCKED:
    case -AL_E_EXISTS:
    case -AL_E_FORMAT: /* needs another version of this program */
    case -AL_E_SEAL_KEY:
    case -AL_E_TOO_LARGE:
    case -AL_E_INVALID:
        return EXIT_USAGE;
    default:
        return EXIT_SYSTEM;
    }
}

/* The words of the system or of whoever failed are the better ones; the error's own text stands
 * before them only where it is the finding itself. */
static int fail_start(const struct daemon *daemon, int error, const char *detail)
{
    const char *text = al_error_text(error);
    bool is_finding = error == -AL_E_DAMAGED || error == -AL_E_FORMAT || error == -AL_E_POISONED ||
                      error == -AL_E_DISK_FULL || error == -AL_E_SEAL_KEY;

    if (strcmp(detail, text) == 0)
        detail = "";
    if (error == -AL_E_LOCKED && !detail[0])
        detail = "another process uses this directory; stop it, or say another --data DIR";
    if (is_finding && detail[0])
        fprintf(stderr, "agentlinkd: cannot start on %s: %s: %s\n", daemon->data, text, detail);
    else
        fprintf(stderr, "agentlinkd: cannot start on %s: %s\n", daemon->data,
                detail[0] ? detail : text);
    return exit_code(error);
}

/* From here on files are written only below the data directory and those of the sockets. Before the
 * journal is read: every thread is to have it, and what damaged data could do to a reader too. */
static void enter_sandbox(struct daemon *daemon)
{
    char room[AL_CONFIG_LISTEN_MAX][PATH_MAX];
    const char *dirs[1 + AL_CONFIG_LISTEN_MAX] = {daemon->data};
    size_t count = 1;
    struct al_log_fields fields;

    for (size_t i = 0; daemon->paths[i]; i++) {
        const char *slash = strrchr(daemon->paths[i], '/');
        int n = slash ? (int)(slash - daemon->paths[i]) + 1 : 1;

        snprintf(room[i], sizeof room[i], "%.*s", n, slash ? daemon->paths[i] : ".");
        dirs[count++] = room[i];
    }
    daemon->sandbox = al_sandbox_enter(dirs, count);
    al_log_fields_init(&fields);
    al_log_put_text(&fields, "in_force", al_sandbox_text(daemon->sandbox));
    al_logger_write(&daemon->logger,
                    daemon->sandbox == (AL_SANDBOX_FILES | AL_SANDBOX_CALLS) ? AL_LOG_INFO
                                                                             : AL_LOG_WARNING,
                    "sandbox", fields.text);
}

/* Authority and certificate, where links are taken. */
static int open_network(struct daemon *daemon)
{
    struct al_network_config config = {
        .data = daemon->data, .node = daemon->name, .lifetime_ms = daemon->config.certificate_ms};
    char why[512] = "";
    int rc;

    if (!daemon->links[0])
        return 0;
    rc = al_pki_program_init();
    if (rc == 0)
        rc = al_network_open(&config, al_clock_now().wall_ms, &daemon->network, why, sizeof why);
    return rc ? fail_start(daemon, rc, why) : 0;
}

static int start(struct daemon *daemon)
{
    struct al_runner_config config = {.unix_paths = daemon->paths,
                                      .tls_addresses = daemon->links,
                                      .log = al_logger_write,
                                      .log_ctx = &daemon->logger};
    struct al_store_report report;
    char where[PATH_MAX + 256], detail[sizeof where + sizeof report.detail + 32];
    int rc = al_file_disk_open(daemon->data, true, &config.disk);

    if (rc)
        return fail_start(daemon, rc, strerror(errno));
    config.store.alloc = al_memory_alloc(&daemon->memory);
    al_node_config_init(&config.node, &config.store.alloc);
    if (al_entropy_fill(config.node.hash_seed, sizeof config.node.hash_seed) ||
        al_entropy_fill(&config.node.random_seed, sizeof config.node.random_seed) ||
        al_entropy_fill(&config.store.random_seed, sizeof config.store.random_seed)) {
        config.disk->ops->close_disk(config.disk);
        return fail_start(daemon, -AL_E_IO, "no random numbers");
    }
    default_name(daemon);
    config.node.name = al_str_c(daemon->name);
    al_config_apply(&daemon->config, &config);
    rc = al_runner_seal(&config, daemon->data, &daemon->config.seal, where, sizeof where);
    if (rc) {
        config.disk->ops->close_disk(config.disk);
        return fail_start(daemon, rc, where);
    }
    rc = open_network(daemon);
    if (rc) {
        config.disk->ops->close_disk(config.disk);
        return rc;
    }
    config.network = daemon->network;
    enter_sandbox(daemon); /* behind the key, which a command may give */
    rc = al_runner_start(&config, &report, &daemon->runner);
    al_runner_unseal(&config);
    if (rc == -AL_E_SEAL_KEY) {
        snprintf(detail, sizeof detail, "%s Looked at: %s", report.detail, where);
        return fail_start(daemon, rc, detail);
    }
    if (rc)
        return fail_start(daemon, rc, report.detail);
    return 0;
}

/* HOST:PORT separated by commas, each as one pair. */
static void print_links(const char *addresses)
{
    while (*addresses) {
        size_t n = strcspn(addresses, ",");

        printf(" listen=tls:%.*s", (int)n, addresses);
        addresses += n + (addresses[n] == ',');
    }
}

static void print_ready(const struct daemon *daemon)
{
    char resolved[PATH_MAX];

    printf("ready");
    for (unsigned i = 0; daemon->paths[i]; i++)
        printf(" listen=unix:%s", daemon->paths[i]);
    print_links(al_runner_addresses(daemon->runner));
    printf(" data=%s epoch=%llu pid=%ld sandbox=%s\n",
           realpath(daemon->data, resolved) ? resolved : daemon->data,
           (unsigned long long)al_runner_epoch(daemon->runner), (long)getpid(),
           al_sandbox_text(daemon->sandbox));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct daemon daemon; /* zeroed; the configuration must outlive the node */
    int rc;

    if (al_standard_guard())
        return EXIT_SYSTEM;
    al_memory_tune();
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &daemon);
    load_config(&daemon);
    settle(&daemon);
    raise_descriptors();
    catch_signals();
    rc = start(&daemon);
    if (rc)
        return rc;
    stop_runner = daemon.runner;
    if (stop_wanted)
        al_runner_stop(daemon.runner);
    print_ready(&daemon);
    rc = al_runner_wait(daemon.runner);
    stop_runner = NULL;
    al_runner_free(daemon.runner);
    al_network_close(daemon.network);
    al_config_deinit(&daemon.config);
    return exit_code(rc);
}
