/* graph.c - reading, laying out, drawing. */
#include "graph.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ----------------------------------------------------------------------------- */

static int64_t node_of(struct graph *graph, const char *name)
{
    if (strlen(name) > NAME_MAX_BYTES)
        return -1;
    for (uint32_t i = 0; i < graph->nodes; i++) {
        if (strcmp(graph->name[i], name) == 0)
            return i;
    }
    if (graph->nodes == NODES_MAX)
        return -1;
    memcpy(graph->name[graph->nodes], name, strlen(name) + 1);
    return graph->nodes++;
}

static const char *add_edge(struct graph *graph, const char *line)
{
    char a[64], b[64], more[2];
    int64_t from, to;

    if (sscanf(line, " %63s %63s %1s", a, b, more) != 2)
        return "not two names";
    from = node_of(graph, a);
    to = node_of(graph, b);
    if (from < 0 || to < 0)
        return "a name is too long, or there are too many nodes";
    if (graph->edges == EDGES_MAX)
        return "too many edges";
    graph->edge[graph->edges][0] = (uint32_t)from;
    graph->edge[graph->edges++][1] = (uint32_t)to;
    return NULL;
}

int graph_read(struct graph *graph, const char *path, const char **ret_wrong)
{
    FILE *file = fopen(path, "r");
    char line[256];
    int number = 0;

    memset(graph, 0, sizeof(*graph));
    *ret_wrong = "cannot be read";
    if (!file)
        return INT_MIN;
    while (fgets(line, sizeof(line), file)) {
        const char *text = line + strspn(line, " \t\r\n");

        number++;
        if (*text == 0 || *text == '#')
            continue;
        *ret_wrong = add_edge(graph, text);
        if (*ret_wrong) {
            fclose(file);
            return -number;
        }
    }
    fclose(file);
    *ret_wrong = graph->edges ? NULL : "there are no edges in it";
    return graph->edges ? 0 : INT_MIN;
}

/* ---- layout ------------------------------------------------------------------------------ */

void graph_scatter(struct graph *graph)
{
    for (uint32_t i = 0; i < graph->nodes; i++) { /* the golden angle: spread, and no two alike */
        double angle = i * 2.399963229728653, radius = AREA / 2 * sqrt((i + 0.5) / graph->nodes);
        uint32_t k = (i * 7919u) % graph->nodes; /* neighbours do not begin side by side */

        graph->at[k].x = AREA / 2 + radius * cos(angle);
        graph->at[k].y = AREA / 2 + radius * sin(angle);
    }
}

/* Adds a force along the line between two nodes; positive: apart. */
static void push(const struct graph *graph, struct point *force, uint32_t a, uint32_t b,
                 double strength)
{
    double dx = graph->at[a].x - graph->at[b].x, dy = graph->at[a].y - graph->at[b].y;
    double distance = sqrt(dx * dx + dy * dy);

    if (distance < 0.01) {
        dx = 0.01 * (a < b ? 1 : -1);
        distance = 0.01;
    }
    force[a].x += dx / distance * strength;
    force[a].y += dy / distance * strength;
    force[b].x -= dx / distance * strength;
    force[b].y -= dy / distance * strength;
}

static double distance_of(const struct graph *graph, uint32_t a, uint32_t b)
{
    double d = hypot(graph->at[a].x - graph->at[b].x, graph->at[a].y - graph->at[b].y);

    return d < 0.01 ? 0.01 : d;
}

static double inside(double v)
{
    return v < 0 ? 0 : v > AREA ? AREA : v;
}

double graph_round(struct graph *graph, double temperature, uint32_t pinned)
{
    static struct point force[NODES_MAX];
    double ideal = 0.45 * sqrt(AREA * AREA / graph->nodes), moved = 0;

    memset(force, 0, sizeof(force));
    for (uint32_t a = 0; a < graph->nodes; a++) {
        for (uint32_t b = a + 1; b < graph->nodes; b++)
            push(graph, force, a, b, ideal * ideal / distance_of(graph, a, b));
    }
    for (uint32_t e = 0; e < graph->edges; e++) {
        uint32_t a = graph->edge[e][0], b = graph->edge[e][1];
        double d = distance_of(graph, a, b);

        push(graph, force, a, b, -d * d / ideal);
    }
    for (uint32_t i = 0; i < graph->nodes; i++) {
        double size = hypot(force[i].x, force[i].y);
        double step = size < temperature ? size : temperature;

        if (i == pinned || size < 1e-9)
            continue;
        graph->at[i].x = inside(graph->at[i].x + force[i].x / size * step);
        graph->at[i].y = inside(graph->at[i].y + force[i].y / size * step);
        moved += step;
    }
    return moved;
}

double graph_stress(const struct graph *graph)
{
    double edges = 0, pairs = 0;
    uint64_t count = 0;

    for (uint32_t e = 0; e < graph->edges; e++)
        edges += distance_of(graph, graph->edge[e][0], graph->edge[e][1]);
    for (uint32_t a = 0; a < graph->nodes; a++) {
        for (uint32_t b = a + 1; b < graph->nodes; b++, count++)
            pairs += distance_of(graph, a, b);
    }
    return count ? edges / graph->edges / (pairs / (double)count) : 0;
}

/* ---- drawing ----------------------------------------------------------------------------- */

int graph_draw(const struct graph *graph, const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file)
        return -1;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-40 -40 %.0f %.0f\">\n"
            "<rect x=\"-40\" y=\"-40\" width=\"100%%\" height=\"100%%\" fill=\"#fbfbf8\"/>\n"
            "<g stroke=\"#8a9aa8\" stroke-width=\"3\">\n",
            AREA + 80, AREA + 80);
    for (uint32_t e = 0; e < graph->edges; e++) {
        const struct point *a = &graph->at[graph->edge[e][0]], *b = &graph->at[graph->edge[e][1]];

        fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", a->x, a->y, b->x,
                b->y);
    }
    fputs("</g>\n<g fill=\"#1f6f8b\">\n", file);
    for (uint32_t i = 0; i < graph->nodes; i++)
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"10\"/>\n", graph->at[i].x,
                graph->at[i].y);
    fputs("</g>\n</svg>\n", file);
    return fclose(file) == 0 ? 0 : -1;
}
