/* table.c - columns for people: bold heading and colour on a terminal, plain columns in a pipe. */
#include "cli/cli.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

struct cell {
    uint8_t *text;
    uint32_t size;
    enum ali_style style;
};

struct ali_table {
    struct ali_cli *cli;
    const char *const *headings;
    size_t columns;
    struct cell *cells; /* row by row */
    size_t count, cap;
};

struct ali_table *ali_table_new(struct ali_cli *cli, const char *const *headings)
{
    struct ali_table *table = ali_alloc(sizeof *table);

    *table = (struct ali_table){.cli = cli, .headings = headings};
    while (headings[table->columns])
        table->columns++;
    assert(table->columns > 0);
    return table;
}

void ali_table_put(struct ali_table *table, enum ali_style style, struct al_str text)
{
    struct cell *cell;

    if (table->count == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 16 * table->columns;
        table->cells = ali_grow(table->cells, table->cap * sizeof *table->cells);
    }
    cell = &table->cells[table->count++];
    *cell = (struct cell){.size = text.n, .style = style, .text = ali_alloc(text.n + 1u)};
    if (text.n)
        memcpy(cell->text, text.p, text.n);
}

void ali_table_text(struct ali_table *table, const char *text)
{
    ali_table_put(table, ALI_PLAIN, al_str_c(text));
}

void ali_table_key(struct ali_table *table, const char *text)
{
    ali_table_put(table, ALI_DIM, al_str_c(text));
}

void ali_table_count(struct ali_table *table, uint64_t value)
{
    ali_table_format(table, "%" PRIu64, value);
}

void ali_table_alarm(struct ali_table *table, uint64_t value)
{
    char text[ALI_SHORT_CAP];

    snprintf(text, sizeof text, "%" PRIu64, value);
    ali_table_put(table, value ? ALI_BAD : ALI_PLAIN, al_str_c(text));
}

void ali_table_format(struct ali_table *table, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    ali_table_text(table, text);
}

static bool is_right(const char *heading)
{
    return heading[0] == '>';
}

static const char *heading_text(const char *heading)
{
    return is_right(heading) ? heading + 1 : heading;
}

static void put_blanks(size_t count)
{
    while (count-- > 0)
        putchar(' ');
}

/* One cell, padded; the last column of a row is not padded on its right. */
static void put_cell(struct ali_table *table, size_t column, enum ali_style style,
                     struct al_str text, size_t width)
{
    bool right = is_right(table->headings[column]);
    size_t pad = width - ali_escaped_width(text);

    if (column > 0)
        put_blanks(2);
    if (right)
        put_blanks(pad);
    if (style != ALI_PLAIN)
        fputs(ali_style_begin(table->cli, style), stdout);
    ali_put_escaped(stdout, text, false);
    if (style != ALI_PLAIN)
        fputs(ali_style_end(table->cli), stdout);
    if (!right && column + 1 < table->columns)
        put_blanks(pad);
}

static void put_rows(struct ali_table *table, const size_t *widths)
{
    size_t columns = table->columns;

    if (table->headings[0][0]) {
        for (size_t c = 0; c < columns; c++)
            put_cell(table, c, ALI_BOLD, al_str_c(heading_text(table->headings[c])), widths[c]);
        putchar('\n');
    }
    for (size_t i = 0; i < table->count; i++) {
        struct cell *cell = &table->cells[i];

        put_cell(table, i % columns, cell->style, al_str_of(cell->text, cell->size),
                 widths[i % columns]);
        if (i % columns == columns - 1)
            putchar('\n');
    }
}

static void table_free(struct ali_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void ali_table_end(struct ali_table *table, bool print, const char *nothing)
{
    if (print) {
        ali_table_print(table, nothing);
        return;
    }
    table_free(table);
}

void ali_table_print(struct ali_table *table, const char *nothing)
{
    size_t columns = table->columns;
    size_t *widths = ali_alloc(columns * sizeof *widths);

    assert(table->count % columns == 0);
    for (size_t c = 0; c < columns; c++)
        widths[c] = ali_escaped_width(al_str_c(heading_text(table->headings[c])));
    for (size_t i = 0; i < table->count; i++) {
        struct al_str text = al_str_of(table->cells[i].text, table->cells[i].size);
        size_t width = ali_escaped_width(text);

        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    if (table->count > 0 || !nothing || !table->cli->out_terminal)
        put_rows(table, widths);
    else
        printf("%s\n", nothing);
    free(widths);
    table_free(table);
}
