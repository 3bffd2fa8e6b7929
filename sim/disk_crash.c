/* disk_crash.c - what is left on the simulated disk after a kill, a power cut or corruption. */
#include "disk_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *sector_of(struct sim_inode *inode, unsigned image, uint32_t sector)
{
    return inode->image[image] + (size_t)sector * SIM_SECTOR;
}

void sim_sector_persist(struct sim_inode *inode, uint32_t sector)
{
    memcpy(sector_of(inode, SIM_IMAGE_BEFORE, sector), sector_of(inode, SIM_IMAGE_SAFE, sector),
           SIM_SECTOR);
    memcpy(sector_of(inode, SIM_IMAGE_SAFE, sector), sector_of(inode, SIM_IMAGE_CACHE, sector),
           SIM_SECTOR);
    inode->state[sector] = SIM_CLEAN;
}

/* The process that held the handle is gone. */
static void bury(struct sim_disk *disk)
{
    if (disk->current)
        disk->current->dead = true;
    disk->current = NULL;
    disk->locked_by = 0;
    disk->open_files = 0;
    for (uint32_t n = 0; n < disk->inode_count; n++) {
        if (disk->inodes[n])
            disk->inodes[n]->opens = 0;
    }
}

void sim_disk_kill(struct sim_disk *disk)
{
    bury(disk);
    for (uint32_t n = 0; n < disk->inode_count; n++) {
        struct sim_inode *inode = disk->inodes[n];

        for (uint32_t s = 0; inode && s < inode->cap / SIM_SECTOR; s++) {
            if (inode->state[s] != SIM_PHANTOM || sim_rand_permille(&disk->rand, 500))
                continue;
            memcpy(sector_of(inode, SIM_IMAGE_CACHE, s), sector_of(inode, SIM_IMAGE_SAFE, s),
                   SIM_SECTOR);
            inode->state[s] = SIM_CLEAN;
        }
    }
    sim_disk_collect(disk);
}

/* How a power cut treats the sectors that wait: drawn once per cut, so that pure cases (nothing
 * kept, everything kept) come up as often as mixtures. */
struct cut {
    uint32_t keep_permille, torn_permille;
    bool lost, torn, reordered;
};

static void tear_sector(struct sim_disk *disk, struct sim_inode *inode, uint32_t sector)
{
    uint8_t *old = sector_of(inode, SIM_IMAGE_SAFE, sector);
    uint8_t *new = sector_of(inode, SIM_IMAGE_CACHE, sector);
    uint32_t at = (uint32_t)sim_rand_below(&disk->rand, SIM_SECTOR);
    bool garbage = sim_rand_permille(&disk->rand, 300);

    memcpy(sector_of(inode, SIM_IMAGE_BEFORE, sector), old, SIM_SECTOR);
    for (uint32_t i = 0; i < SIM_SECTOR; i++) {
        if (old[i] == new[i]) /* bytes that were not to change are safe, even in a torn sector */
            continue;
        if (i < at)
            old[i] = new[i];
        else if (garbage)
            old[i] = (uint8_t)sim_rand_next(&disk->rand);
    }
}

static void cut_inode(struct sim_disk *disk, struct sim_inode *inode, struct cut *cut)
{
    bool lost_here = false;
    uint32_t choice = (uint32_t)sim_rand_below(&disk->rand, 3);

    for (uint32_t s = inode->pending_first; s < inode->pending_end; s++) {
        if (inode->state[s] != SIM_PENDING)
            continue;
        if (sim_rand_permille(&disk->rand, cut->torn_permille)) {
            tear_sector(disk, inode, s);
            cut->torn = true;
        } else if (sim_rand_permille(&disk->rand, cut->keep_permille)) {
            sim_sector_persist(inode, s);
            cut->reordered |= lost_here;
        } else {
            cut->lost = lost_here = true;
        }
    }
    if (inode->size != inode->safe_size && choice > 0) {
        uint32_t lo = inode->size < inode->safe_size ? inode->size : inode->safe_size;
        uint32_t hi = inode->size < inode->safe_size ? inode->safe_size : inode->size;

        inode->safe_size =
            choice == 1 ? inode->size
                        : lo + (uint32_t)sim_rand_below(&disk->rand, (hi - lo) / SIM_SECTOR + 1) *
                                   SIM_SECTOR;
    }
    inode->size = inode->safe_size;
    inode->pending_first = inode->pending_end = 0;
    if (inode->cap == 0)
        return;
    /* Beyond its end a file has no content, and gets zeros if it grows again. */
    memset(inode->image[SIM_IMAGE_SAFE] + inode->size, 0, inode->cap - inode->size);
    memcpy(inode->image[SIM_IMAGE_CACHE], inode->image[SIM_IMAGE_SAFE], inode->cap);
    memset(inode->state, SIM_CLEAN, inode->cap / SIM_SECTOR);
}

static void apply_op(struct sim_disk *disk, const struct sim_op *op)
{
    int at = sim_names_find(&disk->safe, op->from);

    if (op->kind == SIM_OP_CREATE) {
        sim_names_set(&disk->safe, op->from, op->inode);
        return;
    }
    if (at >= 0 && disk->safe.entry[at].inode == op->inode)
        sim_names_remove(&disk->safe, op->from);
    if (op->kind == SIM_OP_RENAME)
        sim_names_set(&disk->safe, op->to, op->inode);
}

/* The file system writes the oldest waiting directory operation by itself. */
void sim_disk_commit_oldest(struct sim_disk *disk)
{
    apply_op(disk, &disk->ops[0]);
    memmove(disk->ops, disk->ops + 1, --disk->op_count * sizeof(disk->ops[0]));
}

/* Each waiting directory operation survives or not. */
static bool cut_names(struct sim_disk *disk, uint32_t keep_permille)
{
    bool lost = false;

    for (uint32_t i = 0; i < disk->op_count; i++) {
        if (sim_rand_permille(&disk->rand, keep_permille)) {
            apply_op(disk, &disk->ops[i]);
            continue;
        }
        lost = true;
        sim_disk_tell(disk, "    disk: LOST an operation on @%", disk->ops[i].from, 0);
    }
    disk->op_count = 0;
    sim_names_copy(&disk->now, &disk->safe);
    return lost;
}

void sim_disk_power_cut(struct sim_disk *disk)
{
    static const uint32_t shares[] = {0, 1000, 500, 900, 100};
    uint32_t shape = (uint32_t)sim_rand_below(&disk->rand, 5);
    struct cut cut = {.keep_permille = shares[shape]};
    uint32_t name_shape = (uint32_t)sim_rand_below(&disk->rand, 5);

    if (sim_rand_permille(&disk->rand, 300))
        cut.torn_permille = 150;
    bury(disk);
    for (uint32_t n = 0; n < disk->inode_count; n++) {
        if (disk->inodes[n])
            cut_inode(disk, disk->inodes[n], &cut);
    }
    disk->tally->fault[SIM_FAULT_POWER_CUT]++;
    disk->tally->fault[SIM_FAULT_LOST_WRITES] += cut.lost;
    disk->tally->fault[SIM_FAULT_TORN_WRITES] += cut.torn;
    disk->tally->fault[SIM_FAULT_REORDERED_WRITES] += cut.reordered;
    disk->tally->fault[SIM_FAULT_LOST_NAMES] += cut_names(disk, shares[name_shape]);
    sim_disk_collect(disk);
}

/* ---- copies ------------------------------------------------------------------------------ */

static struct sim_inode *inode_copy(const struct sim_inode *inode)
{
    struct sim_inode *copy = sim_xrealloc(NULL, sizeof(*copy));

    *copy = *inode;
    copy->opens = 0;
    for (unsigned i = 0; i < SIM_IMAGES; i++) {
        copy->image[i] = sim_xrealloc(NULL, inode->cap);
        if (inode->cap)
            memcpy(copy->image[i], inode->image[i], inode->cap);
    }
    copy->state = sim_xrealloc(NULL, inode->cap / SIM_SECTOR);
    if (inode->cap)
        memcpy(copy->state, inode->state, inode->cap / SIM_SECTOR);
    return copy;
}

struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed, bool cut,
                                struct sim_tally *tally)
{
    struct sim_disk *copy = sim_disk_new(seed, tally);

    copy->inodes = sim_xrealloc(NULL, disk->inode_count * sizeof(*copy->inodes));
    copy->inode_count = disk->inode_count;
    for (uint32_t n = 0; n < disk->inode_count; n++)
        copy->inodes[n] = disk->inodes[n] ? inode_copy(disk->inodes[n]) : NULL;
    sim_names_copy(&copy->now, &disk->now);
    sim_names_copy(&copy->safe, &disk->safe);
    memcpy(copy->ops, disk->ops, sizeof(copy->ops[0]) * disk->op_count);
    copy->op_count = disk->op_count;
    copy->write_count = disk->write_count;
    if (cut)
        sim_disk_power_cut(copy);
    else
        sim_disk_kill(copy);
    return copy;
}

uint64_t sim_disk_hash(const struct sim_disk *disk)
{
    uint64_t hash = 0;

    for (uint32_t i = 0; i < disk->now.count; i++) {
        const struct sim_inode *inode = disk->inodes[disk->now.entry[i].inode];
        uint64_t h = sim_mix64(inode->size);

        for (const char *c = disk->now.entry[i].name; *c; c++)
            h = sim_mix64(h ^ (uint8_t)*c);
        for (uint32_t at = 0; at + 8 <= inode->size; at += 8) {
            uint64_t word;

            memcpy(&word, inode->image[SIM_IMAGE_CACHE] + at, 8);
            h = sim_rotl64(h ^ word, 23) * 0x9e3779b97f4a7c15ull;
        }
        hash += sim_mix64(h); /* a sum: the order of the names does not matter */
    }
    return hash;
}

/* ---- corruption -------------------------------------------------------------------------- */

static bool is_blank(const uint8_t *sector)
{
    for (uint32_t i = 0; i < SIM_SECTOR; i++) {
        if (sector[i])
            return false;
    }
    return true;
}

/* True for the journal file that ends the journal and for the one written last (a closing block
 * goes into the one before): what they hold may not be confirmed by anything yet, and then damage
 * in it is taken for a torn tail. */
static bool is_newest(const struct sim_disk *disk, uint32_t at)
{
    const char *last = "";
    uint64_t newest = 0;

    for (uint32_t i = 0; i < disk->now.count; i++) {
        const char *name = disk->now.entry[i].name;
        const struct sim_inode *inode = disk->inodes[disk->now.entry[i].inode];

        if (strncmp(name, "journal-", 8) != 0)
            continue;
        if (strcmp(name, last) > 0)
            last = name;
        if (inode->written_at > newest)
            newest = inode->written_at;
    }
    return disk->inodes[disk->now.entry[at].inode]->written_at == newest ||
           strcmp(disk->now.entry[at].name, last) == 0;
}

/* A random durable sector of a named file that holds something; false after too many misses. */
static bool pick_sector(struct sim_disk *disk, bool old_only, uint32_t *ret_inode,
                        uint32_t *ret_sector)
{
    for (unsigned attempt = 0; attempt < 60 && disk->now.count > 0; attempt++) {
        uint32_t at = (uint32_t)sim_rand_below(&disk->rand, disk->now.count);
        uint32_t n = disk->now.entry[at].inode, sector;
        struct sim_inode *inode = disk->inodes[n];

        if (inode->size < SIM_SECTOR)
            continue;
        sector = (uint32_t)sim_rand_below(&disk->rand, inode->size / SIM_SECTOR);
        if (old_only && is_newest(disk, at))
            continue;
        if (inode->state[sector] != SIM_CLEAN || is_blank(sector_of(inode, SIM_IMAGE_SAFE, sector)))
            continue;
        *ret_inode = n;
        *ret_sector = sector;
        return true;
    }
    return false;
}

static bool damage(struct sim_disk *disk, enum sim_fault kind, bool old_only, uint8_t *sector)
{
    struct sim_inode *inode;
    uint32_t n, s, at;

    switch (kind) {
    case SIM_FAULT_BIT_FLIP:
        at = (uint32_t)sim_rand_below(&disk->rand, SIM_SECTOR);
        s = (uint32_t)sim_rand_below(&disk->rand, 8);
        sector[at] ^= (uint8_t)(1u << s);
        return true;
    case SIM_FAULT_ZEROED_SECTOR:
        memset(sector, 0, SIM_SECTOR);
        return true;
    case SIM_FAULT_MISDIRECTED:
        if (!pick_sector(disk, old_only, &n, &s))
            return false;
        inode = disk->inodes[n];
        memcpy(sector, sector_of(inode, SIM_IMAGE_SAFE, s), SIM_SECTOR);
        return true;
    default:
        return false;
    }
}

bool sim_disk_corrupt(struct sim_disk *disk, enum sim_fault kind, bool old_only)
{
    struct sim_corruption *c = &disk->corruption[disk->corruption_count];
    struct sim_inode *inode;

    if (disk->corruption_count == SIM_CORRUPTIONS ||
        !pick_sector(disk, old_only, &c->inode, &c->sector))
        return false;
    inode = disk->inodes[c->inode];
    memcpy(c->before, sector_of(inode, SIM_IMAGE_SAFE, c->sector), SIM_SECTOR);
    memcpy(c->after, c->before, SIM_SECTOR);
    if (kind == SIM_FAULT_STALE_SECTOR)
        memcpy(c->after, sector_of(inode, SIM_IMAGE_BEFORE, c->sector), SIM_SECTOR);
    else if (!damage(disk, kind, old_only, c->after))
        return false;
    if (memcmp(c->before, c->after, SIM_SECTOR) == 0)
        return false;
    memcpy(sector_of(inode, SIM_IMAGE_SAFE, c->sector), c->after, SIM_SECTOR);
    memcpy(sector_of(inode, SIM_IMAGE_CACHE, c->sector), c->after, SIM_SECTOR);
    disk->corruption_count++;
    disk->tally->fault[kind]++;
    return true;
}

bool sim_disk_lose_newest(struct sim_disk *disk, char ret_name[96])
{
    const char *newest = "";
    uint32_t witnesses = 0;

    for (uint32_t i = 0; i < disk->now.count; i++) {
        const char *name = disk->now.entry[i].name;
        bool is_journal = strncmp(name, "journal-", 8) == 0;

        witnesses += is_journal || strncmp(name, "snapshot-", 9) == 0;
        if (is_journal && strcmp(name, newest) > 0)
            newest = name;
    }
    if (!*newest || witnesses < 2)
        return false;
    snprintf(ret_name, 96, "%s", newest);
    sim_names_remove(&disk->safe, ret_name);
    sim_names_remove(&disk->now, ret_name);
    disk->tally->fault[SIM_FAULT_LOST_FILE]++;
    sim_disk_collect(disk);
    return true;
}

void sim_disk_repair(struct sim_disk *disk)
{
    while (disk->corruption_count > 0) {
        const struct sim_corruption *c = &disk->corruption[--disk->corruption_count];
        struct sim_inode *inode = c->inode < disk->inode_count ? disk->inodes[c->inode] : NULL;

        if (!inode || (c->sector + 1) * SIM_SECTOR > inode->cap)
            continue;
        for (unsigned image = SIM_IMAGE_CACHE; image <= SIM_IMAGE_SAFE; image++) {
            if (memcmp(sector_of(inode, image, c->sector), c->after, SIM_SECTOR) == 0)
                memcpy(sector_of(inode, image, c->sector), c->before, SIM_SECTOR);
        }
    }
}

bool sim_disk_is_corrupt(const struct sim_disk *disk)
{
    return disk->corruption_count > 0;
}

void sim_disk_last_corruption(const struct sim_disk *disk, char ret_text[96])
{
    const struct sim_corruption *c;

    snprintf(ret_text, 96, "none");
    if (disk->corruption_count == 0)
        return;
    c = &disk->corruption[disk->corruption_count - 1];
    for (uint32_t i = 0; i < disk->now.count; i++) {
        if (disk->now.entry[i].inode == c->inode)
            snprintf(ret_text, 96, "%.60s, offset %u", disk->now.entry[i].name,
                     c->sector * SIM_SECTOR);
    }
}
