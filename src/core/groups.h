/* groups.h - groups: what group.c, group_apply.c and group_post.c do for the rest of the core. Part
 * of internal.h. */
#ifndef AL_CORE_GROUPS_H
#define AL_CORE_GROUPS_H

#include "core/records.h"
#include "core/state.h"
#include "wire/messages.h"

/* The group of that name, AL_REF_NONE; namespace "default" may stand in the name. */
ali_ref ali_find_group(const struct al_node *node, struct al_str name);
/* The group whose agent has this number. */
ali_ref ali_find_group_id(const struct al_node *node, uint32_t id);
/* The member (a former one that still has mail included) of the group that is this agent. */
ali_ref ali_find_member(const struct al_node *node, ali_ref group, ali_ref agent);
/* A member's stream goes: it is forgotten. */
void ali_member_forget(struct al_node *node, ali_ref member);
/* A member, former if left_seq is not 0, and a group of an agent, as a record or a snapshot says;
 * room must be there. */
ali_ref ali_member_load(struct al_node *node, ali_ref group, ali_ref stream, uint64_t joined_seq,
                        uint64_t left_seq);
ali_ref ali_group_make(struct al_node *node, ali_ref agent);
/* Frees the memory that a group owns, nothing else. */
void ali_group_free(struct al_node *node, ali_ref ref);
/* Moves a group's record to a new place: see ali_prepare_carry, ali_apply_carry. */
int ali_group_prepare_carry(struct al_node *node, const struct ali_rec_carry *r);
void ali_group_apply_carry(struct al_node *node, uint64_t lsn, const struct ali_rec_carry *r);
/* True if somebody still refers to the record of the group's message. */
bool ali_group_holds(const struct al_node *node, ali_ref group, uint64_t seq, uint64_t lsn);
/* apply_message.c: the part of an admission that groups share: track, recent id, key. */
int ali_prepare_admission(struct al_node *node, const struct ali_rec_publish *r);
void ali_apply_admission(struct al_node *node, const struct ali_rec_publish *r);
/* A pending message's record stands elsewhere now. */
void ali_stream_moved(struct al_node *node, ali_ref stream, uint64_t seq, uint64_t lsn);
/* Room for more slices of its history. 0, -AL_E_NOMEM, or -AL_E_DAMAGED: so many there never are.
 */
int ali_slices_reserve(struct al_node *node, struct ali_group *group, uint32_t more);
/* Slices of a history, as a table. */
static inline struct ali_slice *ali_slices(const struct ali_group *group, uint32_t *ret_count)
{
    *ret_count = group->d.slice_count;
    return group->d.slices;
}

/* Whether a message of a stream to a group can be admitted behind `more` others. 0, or why not. */
int ali_group_check(const struct al_node *node, const struct ali_stream *stream,
                    const struct ali_rec_publish *record, uint32_t more);
/* Admits one that was checked, as one record: the history is trimmed afterwards. 0, -AL_E_NOMEM. */
int ali_group_admit(struct al_node *node, const struct ali_channel *channel,
                    const struct ali_rec_publish *record, struct ali_receipt_run *ret_receipt);
/* What is known of a message by its place in the group; false: there never was one. */
bool ali_group_describe(const struct al_node *node, ali_ref stream, uint64_t seq,
                        struct al_msg_record *row);
/* conn wants to know how the message ends at all members. */
void ali_group_watch(struct al_node *node, const struct ali_conn *conn, ali_ref stream,
                     uint64_t seq, const struct al_id *id);
/* A delivery to a member has ended, or a member has left: senders are told what is over. */
void ali_group_settled(struct al_node *node, ali_ref group);
static inline void ali_stream_settled(struct al_node *node, ali_ref stream)
{
    ali_ref member = ali_stream_at(node, stream)->v.member;

    if (member != AL_REF_NONE)
        ali_group_settled(node, ali_member_at(node, member)->d.group);
}
/* Forgets what of the history has outlived its retention. 0 or -AL_E_NOMEM. */
int ali_group_trim(struct al_node *node, ali_ref group);
/* A piece of history has been read. */
void ali_group_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                    const struct al_event *event);

#endif
