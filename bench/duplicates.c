/* duplicates.c - W6: sends that carry an idempotency key, and the same sends again.
 *
 * First every message is new: the clock runs from the first publish to the last receipt, each
 * behind its flush. They are received and acked with a response. Then the same messages are sent
 * again, under new ids, by a sender that wants to be told the end: the node answers each with its
 * first receipt and the stored response, and the clock runs until the last response is here. */
#include "bench.h"
#include <string.h>

#define SENDS 50000u

void ali_duplicates_measure(unsigned pairs)
{
    struct bench_load load = {.workload = "w6-fresh",
                              .size = 256,
                              .producers = 1,
                              .window = 256,
                              .messages = SENDS,
                              .keys = BENCH_KEYS_NEW,
                              .recipient = "consumer"};
    struct bench_load again = load;

    again.workload = "w6-duplicate";
    again.keys = BENCH_KEYS_AGAIN;
    for (unsigned i = 0; i < pairs; i++) {
        struct bench_server server;
        double fresh, duplicate;

        ali_note("duplicates, turn %u of %u", i + 1, pairs);
        ali_row_set_pair(i);
        ali_wait_quiet();
        ali_server_start(&server, &ali_peer_agentlink);
        fresh = ali_run_load(&server, &load);
        ali_run_drain(&server, &load);
        duplicate = ali_run_load(&server, &again);
        ali_server_stop(&server);
        ali_row_add(server.peer->name, again.workload, load.size, "ratio_fresh", duplicate / fresh,
                    "x");
    }
    ali_row_print_medians(load.workload, load.size);
    ali_row_print_medians(again.workload, load.size);
}
