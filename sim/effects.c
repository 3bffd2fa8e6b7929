/* effects.c - the ledger of an agent whose every effect is one commit: see effects.h. */
#include "effects.h"

bool sim_is_refused(uint32_t number)
{
    return number % 8 == 5;
}

void sim_effects_applied(struct sim *sim, struct sim_effects *f)
{
    for (uint32_t i = 0; i < f->batch_size; i++) {
        struct sim_number *one = &f->numbers[f->batch[i]];

        if (one->effected)
            sim_fail(sim, "number %u takes effect twice", f->batch[i]);
        if (one->dead && !sim_is_refused(f->batch[i]))
            sim_fail(sim, "number %u takes effect and is a dead letter", f->batch[i]);
        one->effected = true;
        sim->tally.reached[SIM_REACHED_COMMIT_FAILED] += sim_is_refused(f->batch[i]);
    }
    f->state = f->next;
    f->open = false;
    f->batch_size = 0;
}

void sim_effects_void(struct sim *sim, struct sim_effects *f)
{
    for (uint32_t i = 0; i < f->batch_size; i++) {
        if (f->numbers[f->batch[i]].told)
            sim_fail(sim, "a message of number %u was sent, its commit was not applied",
                     f->batch[i]);
    }
    f->open = false;
    f->batch_size = 0;
}

static bool same(struct sim_state a, struct sim_state b)
{
    return a.count == b.count && a.last == b.last;
}

bool sim_effects_in_batch(const struct sim_effects *f, uint32_t number)
{
    for (uint32_t i = 0; f->open && i < f->batch_size; i++)
        if (f->batch[i] == number)
            return true;
    return false;
}

/* The whole state was listed, and nothing that could change it is under way. */
void sim_effects_state(struct sim *sim, struct sim_effects *f, struct sim_state listed)
{
    if (f->open && same(listed, f->next))
        sim_effects_applied(sim, f);
    else if (same(listed, f->state)) {
        if (f->open)
            sim_effects_void(sim, f);
    } else
        sim_fail(sim, "the state is %u, %u; it must be %u, %u, or what the open commit makes of it",
                 listed.count, listed.last, f->state.count, f->state.last);
}

/* "ck" gets a message about this number. */
void sim_effects_told(struct sim *sim, struct sim_effects *f, uint64_t seq, uint32_t number)
{
    if (number >= SIM_NUMBERS || seq >= 4ull * SIM_NUMBERS) {
        sim_fail(sim, "an effect of number %u at sequence %llu", number, (unsigned long long)seq);
        return;
    }
    if (f->told_seqs[seq]) { /* once more */
        if (f->told_seqs[seq] != number + 1)
            sim_fail(sim, "an effect at %llu becomes another", (unsigned long long)seq);
        return;
    }
    f->told_seqs[seq] = number + 1;
    f->heard++;
    if (f->numbers[number].told)
        sim_fail(sim, "two messages tell of number %u", number);
    f->numbers[number].told = true;
    if (!f->numbers[number].effected && !sim_effects_in_batch(f, number))
        sim_fail(sim, "a message tells of number %u, which has not taken effect", number);
}

void sim_effects_account(struct sim *sim, const struct sim_effects *f)
{
    uint32_t effected = 0, missing = 0;

    for (uint32_t i = 0; i < SIM_NUMBERS; i++) {
        effected += f->numbers[i].effected;
        missing += f->numbers[i].effected && !f->numbers[i].told;
        if (f->numbers[i].sent && !f->numbers[i].effected && !f->numbers[i].dead)
            sim_fail(sim, "number %u has neither taken effect nor become a dead letter", i);
    }
    if (effected != f->state.count)
        sim_fail(sim, "%u numbers have taken effect, the state counts %u", effected,
                 f->state.count);
    if (missing > f->dead_told - 1)
        sim_fail(sim, "of %u effects nobody was told", missing);
}
