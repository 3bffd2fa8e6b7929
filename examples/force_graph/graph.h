/* graph.h - a graph from an edge list, its force-directed layout, and a picture of it. */
#ifndef FORCE_GRAPH_GRAPH_H
#define FORCE_GRAPH_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#define NODES_MAX      2000u
#define EDGES_MAX      10000u
#define NAME_MAX_BYTES 31u
#define AREA           1000.0 /* the picture's side */

struct point {
    double x, y;
};

struct graph {
    uint32_t nodes, edges;
    char name[NODES_MAX][NAME_MAX_BYTES + 1];
    uint32_t edge[EDGES_MAX][2];
    struct point at[NODES_MAX];
};

/* Reads lines of two names; '#' begins a comment. 0, or a negative line number that is wrong (with
 * *ret_wrong saying why); INT_MIN: the file cannot be read. */
int graph_read(struct graph *graph, const char *path, const char **ret_wrong);
/* Positions to begin with: spread over the area by a fixed rule. */
void graph_scatter(struct graph *graph);
/* One round of Fruchterman and Reingold: everything repels, edges attract, and no node moves
 * further than `temperature`. Node `pinned` stays (nodes: none does). Returns the summed moves. */
double graph_round(struct graph *graph, double temperature, uint32_t pinned);
/* Mean length of an edge divided by the mean distance of two nodes: small when the layout is good.
 */
double graph_stress(const struct graph *graph);
/* Writes an SVG. 0, -1. */
int graph_draw(const struct graph *graph, const char *path);

#endif
