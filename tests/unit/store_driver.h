/* store_driver.h - drives a store with records whose content follows from their LSN.
 *
 * So every record that comes back, by replay or by reading, can be checked against nothing but its
 * number, across crashes and restarts. Counts what was acknowledged: that much must be there. */
#ifndef AL_TEST_STORE_DRIVER_H
#define AL_TEST_STORE_DRIVER_H

#include "store/store.h"
#include "support.h"

struct driver {
    struct al_test_alloc alloc;
    struct al_store_config config;
    struct al_store *store;
    struct al_store_report report;
    uint64_t lsn;         /* newest record appended */
    uint64_t acked;       /* newest record that the store called durable */
    uint64_t next;        /* replay: the LSN that must come now */
    uint64_t item;        /* replay: items seen so far */
    uint64_t item_lsn;    /* replay: LSN that the first item tells */
    uint32_t payload_max; /* most records are shorter */
};

/* Small segments (64 KiB, the first 16 KiB), so that little data shows everything. */
void driver_init(struct driver *driver);
/* From the next open on: everything new is sealed, under a master key that consists of this byte.
 * driver_init does it with 1 when AL_TEST_SEALED is set, which runs every suite a second time. */
void driver_seal_with(struct driver *driver, uint8_t key);
/* Opens the store and checks everything it replays; the disk is taken over. */
int driver_open(struct driver *driver, struct al_disk *disk);
/* Closes and checks that all memory was given back. NULL stores are accepted. */
void driver_close(struct driver *driver);

/* Appends n records without flushing. */
int driver_append(struct driver *driver, unsigned n);
/* Takes, flushes and gives back everything appended. */
int driver_flush(struct driver *driver);
/* Both. */
int driver_put(struct driver *driver, unsigned n);
/* Seals if the store wants it. */
int driver_seal(struct driver *driver);
/* A whole snapshot at the newest record. */
int driver_snapshot(struct driver *driver);
/* Lets maintain work until it has nothing to do. */
int driver_maintain(struct driver *driver);
/* Releases every segment that may go. Returns how many. */
size_t driver_release(struct driver *driver);
/* Reads records first … last back and checks them. */
int driver_read(struct driver *driver, uint64_t first, uint64_t last);

/* Content of a record. `out` has room for payload_max bytes; returns the length. */
uint32_t driver_payload(const struct driver *driver, uint64_t lsn, uint8_t *out);
uint16_t driver_type(uint64_t lsn);
/* A record callback that checks; ctx is the driver. */
int driver_check(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload);

#endif
