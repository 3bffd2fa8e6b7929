/* fuzz_snapshot.c - recovery and verification with a snapshot that was tampered with.
 *
 * The image has two snapshots and records before, between and behind them; the newest is changed,
 * or the one before when the first byte is odd. */
#include "store_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image image;
    struct image_seen seen = {0};
    struct al_store *store;
    uint64_t lsn = 0;

    if (size == 0)
        return 0;
    image_init(&image);
    if (image_open(&image, &seen, &store) < 0)
        abort();
    image_put(store, &lsn, 120);
    image_snapshot(store, lsn);
    image_put(store, &lsn, 150);
    image_snapshot(store, lsn);
    image_put(store, &lsn, 5);
    al_store_close(store);
    image_change(&image, data[0] % 2 ? "snapshot-0000000000000001" : "snapshot-0000000000000002",
                 data + 1, size - 1);
    image_check(&image);
    image_deinit(&image);
    return 0;
}
