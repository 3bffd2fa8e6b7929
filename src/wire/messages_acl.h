/* messages_acl.h - messages about permissions, for the table in messages.h. */
#ifndef AL_WIRE_MESSAGES_ACL_H
#define AL_WIRE_MESSAGES_ACL_H

#define AL_FIELDS_ACL_SET(U8, U16, U32, U64, ID, STR, BYTES)                                    \
    U32(request, "number chosen by the client; answer: DONE, whose count is the rule's number") \
    U8(effect, "1 allow; 2 deny; 3 the subject is a member of the role that is the object")     \
    U8(actions, "1 send, 2 join, 4 read, 8 administer, added up; 0 for a membership")           \
    U8(hops, "how often who has this right may pass it on, one after the other; 0 to 8")        \
    U64(expire_ms, "wall clock from which on it does not hold, 0: for ever")                    \
    STR(subject, "who: an agent, a pattern or role:NAME")                                       \
    STR(object, "to whom: an agent, group:NAME, a pattern; of a membership role:NAME")          \
    STR(kind, "kinds of messages it is about: a pattern; empty: all")                           \
    STR(by, "agent that makes the rule by a right of its own; empty: the node's administrator")
#define AL_FIELDS_ACL_REMOVE(U8, U16, U32, U64, ID, STR, BYTES)         \
    U32(request, "number chosen by the client; answer: DONE")           \
    U64(rule, "the rule; what was passed on by its right goes with it") \
    STR(by, "agent that removes it; empty: the node's administrator")
#define AL_FIELDS_ACL_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: ACL_ROW …, DONE") \
    U64(after, "only rules with higher numbers")                          \
    U32(limit, "rows wanted; 0: as many as the node gives")
#define AL_FIELDS_ACL_ROW(U8, U16, U32, U64, ID, STR, BYTES)                     \
    U32(request, "from ACL_LIST or ACL_TEST")                                    \
    U64(rule, "its number: the version of the rules that it made")               \
    U8(effect, "as in ACL_SET")                                                  \
    U8(actions, "as in ACL_SET")                                                 \
    U8(hops, "as in ACL_SET")                                                    \
    U8(state, "1: it holds; 2: expired; 3: who passed it on has lost the right") \
    U64(parent, "rule by whose right it was passed on, 0: none")                 \
    U64(wall_ms, "when it was made")                                             \
    U64(expire_ms, "wall clock, 0: for ever")                                    \
    U32(uid, "user who made it")                                                 \
    STR(subject, "who; the namespace is always written out")                     \
    STR(object, "to whom, likewise")                                             \
    STR(kind, "kinds of messages; empty: all")                                   \
    STR(by, "agent that made it; empty: the node's administrator")
#define AL_FIELDS_ACL_TEST(U8, U16, U32, U64, ID, STR, BYTES)                         \
    U32(request, "number chosen by the client; answers: ACL_VERDICT, ACL_ROW of the " \
                 "deciding rule if there is one, DONE")                               \
    U8(action, "1 send, 2 join, 4 read, 8 administer")                                \
    STR(subject, "agent; it need not exist")                                          \
    STR(object, "agent or group:NAME; it need not exist")                             \
    STR(kind, "kind of the message; may be empty")
#define AL_FIELDS_ACL_VERDICT(U8, U16, U32, U64, ID, STR, BYTES)                  \
    U32(request, "from ACL_TEST")                                                 \
    U8(allowed, "1: it may be done")                                              \
    U64(rule, "deciding rule; 0: none says anything: inside a namespace all but " \
              "administration is allowed, across namespaces nothing")             \
    U64(version, "of the rules: how often they have changed")

#endif
