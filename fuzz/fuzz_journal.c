/* fuzz_journal.c - recovery and verification of a journal segment that was tampered with.
 *
 * The image has two batches, a seal and an unsealed batch, in one segment. */
#include "store_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image image;
    struct image_seen seen = {0};
    struct al_store *store;
    uint64_t lsn = 0;

    image_init(&image);
    if (image_open(&image, &seen, &store) < 0)
        abort();
    image_put(store, &lsn, 3);
    image_put(store, &lsn, 20);
    image_put(store, &lsn, 0);
    image_put(store, &lsn, 5);
    al_store_close(store);
    image_change(&image, "journal-0000000000000001", data, size);
    image_check(&image);
    image_deinit(&image);
    return 0;
}
