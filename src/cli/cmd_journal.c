/* cmd_journal.c - agentlink journal verify, rekey: a data directory without a node. */
#include "cli/node.h"
#include "os/entropy.h"
#include "os/file_disk.h"
#include "os/key_file.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *heap(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

struct verify {
    struct ali_cli *cli;
    struct ali_table *table;
    uint64_t files, bytes, records, damaged;
    uint64_t first_lsn, last_lsn;
    char notes[4096]; /* details of rows that are not well, a line each */
};

static enum ali_style verdict_style(const char *verdict)
{
    return strcmp(verdict, "ok") == 0        ? ALI_GOOD
           : strcmp(verdict, "damaged") == 0 ? ALI_BAD
           : strcmp(verdict, "free") == 0    ? ALI_DIM
                                             : ALI_WARN;
}

static void row_json(struct ali_cli *cli, const struct al_verify_row *row)
{
    json_t *object = json_object();

    json_object_set_new(object, "file", ali_json_text(row->file));
    json_object_set_new(object, "kind", ali_json_text(row->kind));
    json_object_set_new(object, "first_lsn", ali_json_count(row->first_lsn));
    json_object_set_new(object, "last_lsn", ali_json_count(row->last_lsn));
    json_object_set_new(object, "records", ali_json_count(row->records));
    json_object_set_new(object, "bytes", ali_json_count(row->bytes));
    json_object_set_new(object, "verdict", ali_json_text(row->verdict));
    json_object_set_new(object, "offset", ali_json_count(row->offset));
    json_object_set_new(object, "detail", ali_json_text(row->detail));
    ali_json_print(cli, object);
}

static void note(struct verify *verify, const struct al_verify_row *row)
{
    size_t used = strlen(verify->notes);

    bool is_well = strcmp(row->verdict, "ok") == 0 || strcmp(row->verdict, "free") == 0;

    if (!is_well && row->detail && *row->detail)
        snprintf(verify->notes + used, sizeof verify->notes - used, "%s: offset %llu: %s\n",
                 row->file, (unsigned long long)row->offset, row->detail);
}

static void add_row(void *ctx, const struct al_verify_row *row)
{
    struct verify *verify = ctx;
    struct ali_table *table = verify->table;
    char text[ALI_SHORT_CAP];

    verify->files++;
    verify->bytes += row->bytes;
    if (strcmp(row->kind, "segment") == 0)
        verify->records += row->records;
    verify->damaged += strcmp(row->verdict, "damaged") == 0;
    ali_progress(verify->cli, "%llu files, %s checked", (unsigned long long)verify->files,
                 ali_format_size(verify->bytes, text));
    note(verify, row);
    if (verify->cli->json) {
        row_json(verify->cli, row);
        return;
    }
    ali_table_text(table, row->file);
    ali_table_text(table, row->kind);
    if (row->last_lsn) {
        ali_table_count(table, row->first_lsn);
        ali_table_count(table, row->last_lsn);
    } else {
        ali_table_text(table, "-");
        ali_table_text(table, "-");
    }
    ali_table_count(table, row->records);
    ali_table_text(table, ali_format_size(row->bytes, text));
    ali_table_put(table, verdict_style(row->verdict), al_str_c(row->verdict));
}

static void print_result(struct verify *verify, const struct al_store_report *report, int r)
{
    struct ali_cli *cli = verify->cli;
    char text[ALI_SHORT_CAP];

    if (cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "ok", json_boolean(r == 0));
        json_object_set_new(object, "files", ali_json_count(verify->files));
        json_object_set_new(object, "records", ali_json_count(verify->records));
        json_object_set_new(object, "bytes", ali_json_count(verify->bytes));
        json_object_set_new(object, "last_lsn", ali_json_count(report->last_lsn));
        json_object_set_new(object, "snapshot_lsn", ali_json_count(report->snapshot_lsn));
        json_object_set_new(object, "torn_bytes", ali_json_count(report->torn_bytes));
        json_object_set_new(object, "detail", ali_json_text(report->detail));
        ali_json_print(cli, object);
        return;
    }
    printf("\n%s%s%s  %llu files, %s, %llu records, last record %llu\n",
           ali_style_begin(cli, r ? ALI_BAD : ALI_GOOD), r ? "DAMAGED" : "ok", ali_style_end(cli),
           (unsigned long long)verify->files, ali_format_size(verify->bytes, text),
           (unsigned long long)verify->records, (unsigned long long)report->last_lsn);
    if (report->torn_bytes)
        printf("torn tail of %s: never acknowledged, the node drops it at its next start\n",
               ali_format_size(report->torn_bytes, text));
    ali_put_escaped(stdout, al_str_c(verify->notes), true);
}

static int verify_disk(struct ali_cli *cli, const char *path, struct al_disk *disk,
                       const uint8_t *key)
{
    static const char *const headings[] = {"FILE",     "KIND",  ">FIRST LSN", ">LAST LSN",
                                           ">RECORDS", ">SIZE", "VERDICT",    NULL};
    const struct al_alloc alloc = {.realloc_fn = heap};
    struct al_store_report report = {0};
    struct verify verify = {.cli = cli, .table = ali_table_new(cli, headings)};
    int r = al_store_verify(&alloc, disk, key, add_row, &verify, &report);

    ali_progress_end(cli);
    ali_table_end(verify.table, !cli->json && verify.files > 0, NULL);
    if (r && r != -AL_E_DAMAGED) {
        ali_say(cli, "%s: %s%s%s", ali_safe_c(path), al_error_text(r), *report.detail ? ": " : "",
                ali_safe_c(report.detail));
        return ali_exit_of(r);
    }
    if (r == 0 && verify.files == 0) {
        ali_say(cli, "%s: no journal here; the directory has no file of a node", ali_safe_c(path));
        return ALI_EXIT_REFUSED;
    }
    print_result(&verify, &report, r);
    if (r == 0)
        return 0;
    ali_say(cli, "%s: %s", ali_safe_c(path),
            *report.detail ? ali_safe_c(report.detail) : al_error_text(r));
    ali_say(cli,
            "nothing was changed; keep a copy of the directory before anything else is done to "
            "it. A node refuses to start on it");
    return ALI_EXIT_DAMAGED;
}

struct verify_values {
    const char *key_file;
};

static const struct ali_option verify_options[] = {
    {"key-file", 0, "FILE", ALI_TEXT, offsetof(struct verify_values, key_file),
     .help = "master key of a sealed directory: checks every seal too, not only the checksums"},
    {.name = NULL},
};

static int run_verify(struct ali_cli *cli, const void *values, char **args)
{
    const struct verify_values *given = values;
    const struct al_key_source source = {.file = given->key_file};
    uint8_t key[AL_KEY_BYTES];
    char why[512];
    struct al_disk *disk;
    int r, code;

    if (given->key_file && al_key_read(&source, args[0], key, why, sizeof why)) {
        ali_say(cli, "%s", ali_safe_c(why));
        return ALI_EXIT_REFUSED;
    }
    errno = 0;
    r = al_file_disk_open(args[0], false, &disk);
    if (r) {
        ali_say(cli, "%s: %s", ali_safe_c(args[0]), errno ? strerror(errno) : al_error_text(r));
        return ALI_EXIT_REFUSED;
    }
    code = verify_disk(cli, args[0], disk, given->key_file ? key : NULL);
    al_seal_wipe(key, sizeof key);
    disk->ops->close_disk(disk);
    return code;
}

/* ---- rekey ------------------------------------------------------------------------------- */

struct rekey_values {
    const char *key_file, *new_key_file;
};

static const struct ali_option rekey_options[] = {
    {"new-key-file", 0, "FILE", ALI_TEXT, offsetof(struct rekey_values, new_key_file),
     .required = true, .help = "the master key that is to open the directory from now on"},
    {"key-file", 0, "FILE", ALI_TEXT, offsetof(struct rekey_values, key_file),
     .help = "the one that does so far, where it is not DIR/master.key"},
    {.name = NULL},
};

/* One of the two passes; the sum of the changed files is added. */
static int rekey_pass(struct ali_cli *cli, struct al_disk *disk, struct al_store_rekey *how,
                      uint64_t *files)
{
    const struct al_alloc alloc = {.realloc_fn = heap};
    struct al_store_report report = {0};
    int r = al_entropy_fill(how->seed, sizeof how->seed);

    if (r == 0)
        r = al_store_rekey(&alloc, disk, how, &report, files);
    if (r)
        ali_say(cli, "%s%s%s", al_error_text(r), *report.detail ? ": " : "",
                ali_safe_c(report.detail));
    return r;
}

/* The new key beside the old one everywhere, the new key in its place, the old one nowhere. */
static int rekey_disk(struct ali_cli *cli, struct al_disk *disk, struct al_store_rekey *how,
                      const char *own_path)
{
    uint64_t added = 0, cleared = 0;
    int r = disk->ops->lock(disk);

    if (r) {
        ali_say(cli, "a node uses this directory; stop it first");
        return ALI_EXIT_REFUSED;
    }
    r = rekey_pass(cli, disk, how, &added);
    if (r)
        return ali_exit_of(r);
    if (own_path && al_key_replace(own_path, how->new_key)) {
        ali_say(cli, "%s: %s; nothing is lost: both keys open the directory", ali_safe_c(own_path),
                strerror(errno));
        return ALI_EXIT_REFUSED;
    }
    how->is_end = true;
    r = rekey_pass(cli, disk, how, &cleared);
    if (r)
        return ali_exit_of(r);
    if (cli->json) {
        json_t *object = json_object();

        json_object_set_new(object, "ok", json_true());
        json_object_set_new(object, "files", ali_json_count(added > cleared ? added : cleared));
        ali_json_print(cli, object);
    } else {
        printf("the new key opens every file now, and the old one none (%llu changed)%s\n",
               (unsigned long long)(added > cleared ? added : cleared),
               own_path ? "" : "; the node needs the new key from its next start on");
    }
    return 0;
}

static int run_rekey(struct ali_cli *cli, const void *values, char **args)
{
    const struct rekey_values *given = values;
    const struct al_key_source old_source = {.file = given->key_file};
    const struct al_key_source new_source = {.file = given->new_key_file};
    struct al_store_rekey how = {.is_end = false};
    char path[4096], why[4608];
    struct al_disk *disk;
    int r, code;

    if (!al_key_default_path(args[0], path, sizeof path) ||
        al_key_read(&old_source, args[0], how.old_key, why, sizeof why) ||
        al_key_read(&new_source, args[0], how.new_key, why, sizeof why)) {
        ali_say(cli, "%s", ali_safe_c(why));
        return ALI_EXIT_REFUSED;
    }
    errno = 0;
    r = al_file_disk_open(args[0], false, &disk);
    if (r) {
        ali_say(cli, "%s: %s", ali_safe_c(args[0]), errno ? strerror(errno) : al_error_text(r));
        return ALI_EXIT_REFUSED;
    }
    code = rekey_disk(cli, disk, &how, given->key_file ? NULL : path);
    disk->ops->close_disk(disk);
    al_seal_wipe(&how, sizeof how);
    return code;
}

const struct ali_command ali_cmd_journal[] = {
    {
        .group = "journal",
        .name = "rekey",
        .summary = "change the master key of a node's data directory",
        .options = rekey_options,
        .values_size = sizeof(struct rekey_values),
        .args = "DIR",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_DIRS,
        .doc = "The node must be stopped. Only the header of each file is written, not its data.\n"
               "Where the key is DIR/master.key, the new one takes its place; otherwise give the\n"
               "old one with --key-file, and the new one to the node. After a crash, run it again.",
        .examples = "agentlink journal rekey --new-key-file new.key ~/.local/share/agentlink",
        .run = run_rekey,
    },
    {
        .group = "journal",
        .name = "verify",
        .summary = "check every byte of a node's data directory",
        .options = verify_options,
        .values_size = sizeof(struct verify_values),
        .args = "DIR",
        .args_min = 1,
        .args_max = 1,
        .complete = ALI_DIRS,
        .doc = "Reads every frame of every file, offline, and changes nothing. Ends with 4 when\n"
               "acknowledged data is damaged. A torn tail, what a crash cut off before it was\n"
               "acknowledged, is well. Beside a running node the tail may look torn. Needs no key\n"
               "of a sealed directory; with the key it also finds what was changed on purpose.",
        .examples = "agentlink journal verify ~/.local/share/agentlink",
        .run = run_verify,
    },
    {.name = NULL},
};
