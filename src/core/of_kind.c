/* of_kind.c - the stream of a message that has the priority of its kind.
 *
 * A sender may leave the priority to the kind (PUBLISH, flag 4). Such a message is sent on a
 * channel like any other: the channel's stream has the producer's high-water mark (track), so that
 * numbers, recognition of what is sent again, holds and gaps are the channel's alone. Its place is
 * in the stream of the same sender, recipient and label that has the priority which is registered
 * for the kind at that moment, and its record names both. When the kind changes, nothing moves that
 * was admitted; the next message goes elsewhere. */
#include "core/of_kind.h"

int ali_stream_open(struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                    struct al_str label, ali_ref *ret_stream)
{
    bool unordered = priority & ALI_PRIORITY_UNORDERED;
    struct ali_rec_stream_open record = {.stream = node->d.next_stream,
                                         .from = ali_agent_at(node, from)->d.id,
                                         .to = ali_agent_at(node, to)->d.id,
                                         .priority = priority & (uint8_t)~ALI_PRIORITY_UNORDERED,
                                         .flags = unordered ? ALI_STREAM_UNORDERED : 0,
                                         .label = label,
                                         .wall_ms = node->v.now.wall_ms};
    ali_ref stream = ali_find_stream_key(node, from, to, priority, label);
    int r;

    if (stream == AL_REF_NONE) {
        if (node->streams.count >= AL_STREAMS_MAX)
            return -AL_E_LIMIT;
        if (node->v.disk_full)
            return -AL_E_DISK_FULL;
        r = ali_commit(node, ALI_REC_STREAM_OPEN, &record);
        if (r < 0)
            return r;
        stream = ali_find_stream(node, record.stream);
    }
    *ret_stream = stream;
    return 0;
}

int ali_stream_of_kind(struct al_node *node, ali_ref ref, uint8_t priority, ali_ref *ret_stream)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    uint8_t unordered = stream->d.flags & ALI_STREAM_UNORDERED ? ALI_PRIORITY_UNORDERED : 0;

    if (priority == AL_PRIORITY_NONE || priority == stream->d.priority) {
        *ret_stream = ref;
        return 0;
    }
    return ali_stream_open(node, stream->d.from, stream->d.to, priority | unordered,
                           al_str_of(stream->d.label, stream->d.label_size), ret_stream);
}

bool ali_is_sibling(const struct al_node *node, ali_ref a_ref, ali_ref b_ref)
{
    const struct ali_stream *a = ali_stream_at(node, a_ref), *b = ali_stream_at(node, b_ref);

    return a->d.from == b->d.from && a->d.to == b->d.to && a->d.label_size == b->d.label_size &&
           (!a->d.label_size || memcmp(a->d.label, b->d.label, a->d.label_size) == 0);
}

uint8_t ali_priority_of_kind(const struct al_node *node, uint8_t priority, struct al_str kind)
{
    if (priority != AL_PRIORITY_NONE)
        return priority;
    priority = ali_terms_of(node, kind).priority;
    return priority == AL_PRIORITY_NONE ? AL_PRIORITY_DEFAULT : priority;
}
