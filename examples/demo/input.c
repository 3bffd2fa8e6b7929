/* input.c - chooses real text files as the team's work. */
#include "director.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FOUND_MAX = 5000, FILE_BYTES_MAX = 200000 };

static char *found[FOUND_MAX]; /* nftw has no context argument */
static size_t found_count;

static int on_file(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    static const char *const endings[] = {".c", ".h", ".md", ".py"};
    const char *name = path + walk->base, *dot = strrchr(name, '.');

    if (type == FTW_D && (name[0] == '.' || strncmp(name, "build", 5) == 0) && walk->level > 0)
        return FTW_SKIP_SUBTREE;
    if (type != FTW_F || !dot || stat->st_size == 0 || stat->st_size > FILE_BYTES_MAX)
        return FTW_CONTINUE;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (strcmp(dot, endings[i]) == 0 && found_count < FOUND_MAX)
            found[found_count++] = strdup(path);
    return FTW_CONTINUE;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void write_file(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "we");

    if (!file || fwrite(text, 1, size, file) != size || fclose(file))
        die("%s: cannot be written", path);
}

/* Copies one file; returns its lines, 0 if it is not wanted. */
static unsigned long long copy(struct input *input, const char *from, const char *dir)
{
    struct counts counts = {0};
    size_t size;
    char *text = read_file(from, &size);
    char to[600];

    counts_text(&counts, text, size);
    if (size == 0 || text[size - 1] != '\n') {
        free(text);
        return 0;
    }
    snprintf(to, sizeof to, "%s/%04u.txt", dir, input->count);
    write_file(to, text, size);
    free(text);
    input->paths[input->count++] = strdup(to);
    input->chunks += (unsigned)((counts.lines + CHUNK_LINES - 1) / CHUNK_LINES);
    return counts.lines;
}

void input_choose(struct input *input, const char *root, const char *dir)
{
    unsigned long long lines = 0;

    if (mkdir(dir, 0700))
        die("%s: cannot be made", dir);
    found_count = 0;
    if (nftw(root, on_file, 16, FTW_PHYS | FTW_ACTIONRETVAL))
        die("%s: cannot be read", root);
    qsort(found, found_count, sizeof found[0], by_name);
    for (size_t i = 0; i < found_count; i++) {
        if (lines < INPUT_LINES && input->count < INPUT_FILES_MAX)
            lines += copy(input, found[i], dir);
        free(found[i]);
    }
    if (input->count == 0)
        die("%s: no text files there", root);
}

void input_free(struct input *input)
{
    for (unsigned i = 0; i < input->count; i++)
        free(input->paths[i]);
}
