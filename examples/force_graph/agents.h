/* agents.h - the two agents of the example and what they say to each other.
 *
 * The kinds are those of a graph engine that computes on a GPU; here the "GPU" is a second agent.
 */
#ifndef FORCE_GRAPH_AGENTS_H
#define FORCE_GRAPH_AGENTS_H

#include "graph.h"
#include <agentlink/agentlink.h>

#define ORCHESTRATOR "force-graph/orchestrator"
#define COMPUTE      "force-graph/compute"

/* X(kind, readable name, ack timeout in ms, retries) */
#define FORCE_GRAPH_KINDS(X)                                                  \
    X(InitializeGPU, "make room on the GPU", 10000, 5)                        \
    X(SetSharedGPUContext, "share the GPU's context", 5000, 5)                \
    X(UpdateGPUGraphData, "send the graph to the GPU", 5000, 5)               \
    X(UploadConstraintsToGPU, "say which nodes stay where they are", 3000, 3) \
    X(ComputeForces, "compute forces and move the nodes by them", 2000, 3)    \
    X(UpdateNodePositions, "tell the orchestrator where the nodes are", 1000, 2)

/* The compute agent: serves until al_client_stop(). Every `fail_every`-th round fails at its first
 * attempt, as a GPU under load would; 0: none. */
struct compute {
    struct al_client *client;
    uint32_t fail_every;
    /* What came of it. */
    uint32_t rounds, failures, again, violations;
};
/* A thread's main function; ctx is a struct compute. */
void *compute_run(void *ctx);

#endif
