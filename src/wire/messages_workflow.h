/* messages_workflow.h - fields of the messages about the numbers of workflows: part of the table in
 * messages.h. */
#ifndef AL_WIRE_MESSAGES_WORKFLOW_H
#define AL_WIRE_MESSAGES_WORKFLOW_H

#define AL_FIELDS_WORKFLOW_GET(U8, U16, U32, U64, ID, STR, BYTES)                                 \
    U32(request, "number chosen by the client; answers: WORKFLOW_ROW, WORKFLOW_RANGE …, DONE; " \
                 "go on behind the last range until there is none")                               \
    U32(limit, "ranges at most")                                                                  \
    U64(first, "ranges from this number on; 0: from the beginning")                               \
    STR(space, "namespace of the senders; empty: default")                                        \
    STR(workflow, "the workflow id")
#define AL_FIELDS_WORKFLOW_LIST(U8, U16, U32, U64, ID, STR, BYTES)                                 \
    U32(request, "number chosen by the client; answers: WORKFLOW_ROW …, DONE; go on behind the " \
                 "last one until there is none")                                                   \
    U32(limit, "workflows at most")                                                                \
    U64(after, "workflows that began later than the one of this number; 0: all")                   \
    STR(space, "only of this namespace; empty: of all")
#define AL_FIELDS_WORKFLOW_ROW(U8, U16, U32, U64, ID, STR, BYTES)            \
    U32(request, "from WORKFLOW_GET or WORKFLOW_LIST")                       \
    U64(number, "of the workflow on this node; grows with their beginnings") \
    U64(allocated, "numbers given out: 1 to this one")                       \
    U64(processed, "of these: acknowledged SUCCESS or PARTIAL_SUCCESS")      \
    U64(pending, "not ended")                                                \
    U64(failed, "ended FAILED by their receiver")                            \
    U64(dead, "dead letters for another reason")                             \
    U64(expired, "ended by their life time")                                 \
    U64(cancelled, "taken back, or gone with a removed agent")               \
    U64(used_ms, "wall clock of the last admission or end")                  \
    STR(space, "namespace of the senders")                                   \
    STR(workflow, "the workflow id")
#define AL_FIELDS_WORKFLOW_RANGE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from WORKFLOW_GET")                               \
    U64(first, "first number")                                      \
    U64(last, "last number")                                        \
    U8(state, "of all of them: 1 pending, 2 failed, 3 dead, 4 expired, 5 cancelled")

#endif
