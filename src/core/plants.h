/* plants.h - planted bugs: mistakes that the simulator must find, compiled into its builds only.
 *
 * AL_PLANT(node, NAME) is false in every other build. A plant is one line at the place where a
 * careful person could really have slipped. */
#ifndef AL_CORE_PLANTS_H
#define AL_CORE_PLANTS_H

/* X(SYMBOL, "name-on-the-command-line", "what is wrong") */
#define AL_CORE_PLANTS(X)                                                                          \
    X(STALE_LEASE, "stale-lease", "an ack with a superseded lease is accepted")                    \
    X(DEDUP_OFF_BY_ONE, "dedup-off-by-one", "the newest producer sequence is taken as new again")  \
    X(DEDUP_FORGOTTEN, "dedup-forgotten", "snapshots leave out the producers' high-water marks")   \
    X(ACK_OUT_OF_ORDER, "ack-out-of-order", "an ack of a later message ends the earlier ones")     \
    X(RETRY_OVERTAKES, "retry-overtakes", "a failed head does not recall the later messages")      \
    X(REDELIVERED_UNMARKED, "redelivered-unmarked", "redelivery after a restart is not marked")    \
    X(ATTEMPT_NOT_DURABLE, "attempt-not-durable", "a failed attempt is counted in memory only")    \
    X(EXPIRY_OF_LEASED, "expiry-of-leased", "a message that is out can expire under the receiver") \
    X(CREDIT_LEAK, "credit-leak", "recalled messages do not give their credit back")               \
    X(SEQ_REUSED, "seq-reused", "a snapshot stores the next sequence one too low")                 \
    X(CARRY_FORGETS, "carry-forgets", "carrying a message forward does not move its place")        \
    X(BREAKER_SPENDS, "breaker-spends", "while a breaker is open, failures spend attempts")        \
    X(BREAKER_LEAKS, "breaker-leaks", "an open breaker lets messages through")                     \
    X(BREAKER_STUCK, "breaker-stuck", "a breaker that opens again stays open for ever")            \
    X(LIVE_UNCOUNTED, "live-uncounted", "redriven dead letters do not keep their segment alive")   \
    X(CANCEL_NOT_RECALLED, "cancel-not-recalled", "a message that is out is cancelled in place")   \
    X(CANCEL_IN_MEMORY, "cancel-in-memory", "a scheduled message is cancelled until the restart")  \
    X(CANCEL_COMES_BACK, "cancel-comes-back", "snapshots forget messages cancelled in the middle") \
    X(GAP_WITHOUT_END, "gap-without-end", "a gap that does not heal is never ended")               \
    X(GAP_OVERTAKEN, "gap-overtaken", "one arrival lets everything behind a gap go")               \
    X(GAP_UNTOLD, "gap-untold", "the recipient is not told of messages that were given up")        \
    X(FOLLOWS_UNMARKED, "follows-unmarked", "a delivery hides that another one is out before it")  \
    X(GAP_UNANSWERED, "gap-unanswered", "who misses what is not out any more is not told so")      \
    X(GROUP_LEAVE_LOST, "group-leave-lost", "snapshots forget that a member has left its group")   \
    X(GROUP_FORMER_POSTS, "group-former-posts", "who has left a group may still post to it")       \
    X(GROUP_KEY_LOST, "group-key-lost", "recovery forgets the idempotency keys of posts")          \
    X(GROUP_POST_TWICE, "group-post-twice", "recovery forgets the producer sequences of posts")    \
    X(GROUP_CARRY_HALF, "group-carry-half",                                                        \
      "carrying a post forward moves it in the history only")                                      \
    X(GROUP_CHAIN_GAP, "group-chain-gap", "joins and leaves are not in the chain of hashes")       \
    X(GROUP_END_EARLY, "group-end-early", "a post's end is told when the first member has it")     \
    X(GROUP_HISTORY_OPEN, "group-history-open", "former members may read a group's history")       \
    X(GROUP_UNREAD_LOST, "group-unread-lost", "what only a member still holds is not carried")     \
    X(SCHEDULE_EACH, "schedule-each", "every missed firing is made up for by one of its own")      \
    X(SCHEDULE_AGAIN, "schedule-again", "recovery forgets when a schedule has fired last")         \
    X(SCHEDULE_STAYS, "schedule-stays", "recovery forgets that a schedule was removed")            \
    X(COMMIT_REPEATED, "commit-repeated", "the newest commit of a producer is applied again")      \
    X(COMMIT_FORGOTTEN, "commit-forgotten", "snapshots leave out the numbers of commits")          \
    X(COMMIT_IN_PART, "commit-in-part", "a refused commit has changed the state already")          \
    X(COMMIT_POST_APART, "commit-post-apart", "on replay a post to a group ends its commit")       \
    X(COMMIT_DEAD_APART, "commit-dead-apart", "on replay an ack FAILED ends its commit")           \
    X(COMMIT_HALVED, "commit-halved", "recovery applies what there is of half a commit")           \
    X(KV_UNTOUCHED, "kv-untouched", "a value that changes under a snapshot is not kept for it")    \
    X(ANSWER_LOST, "answer-lost", "a message sent again is told its end without the answer")       \
    X(PART_STALE, "part-stale", "a part of a reply is passed on whatever its lease")               \
    X(PART_TWICE, "part-twice", "who waits for an end is passed every part once more")             \
    X(PART_ASTRAY, "part-astray", "parts go to the receiver of the agent that asks")               \
    X(PART_UNHEARD, "part-unheard", "parts are passed on for the first attempt only")              \
    X(LANE_SHARED, "lane-shared", "messages of an unordered stream wait for each other")           \
    X(LETTER_BYTES_STAY, "letter-bytes-stay",                                                      \
      "dead letters that go do not give the room of their bytes back")                             \
    X(LETTER_LOG_FLOOD, "letter-log-flood", "the log names every dead letter, however many")       \
    X(RETAIN_SHORT, "retain-short", "a stream keeps one message less than it was told to")         \
    X(RETAIN_REACH, "retain-reach", "snapshots forget how far back a history reaches")             \
    X(RETAIN_CARRY, "retain-carry", "carrying a kept message forward leaves it where it was")      \
    X(REPLAY_RISING, "replay-rising", "a replay leaves out what was carried forward")              \
    X(WORKFLOW_DEAD_DONE, "workflow-dead-done", "a dead letter counts as processed in a workflow") \
    X(WORKFLOW_RESTARTS, "workflow-restarts", "snapshots leave a quiet workflow one number short") \
    X(WORKFLOW_REDRIVE_LOST, "workflow-redrive-lost", "a redriven message has lost its number")    \
    X(SHARED_SPLIT, "shared-split", "a stream goes to whoever is next, though it is out already")  \
    X(SHARED_STUCK, "shared-stuck", "who begins to share an inbox is not served what waits there") \
    X(SHARED_CREDIT, "shared-credit", "what one that shares settles is credited to another one")   \
    X(KIND_TRACK, "kind-track", "what has its kind's priority is numbered in another stream")      \
    X(KIND_STALE, "kind-stale", "a kind's priority applies as it was registered first")            \
    X(KIND_RECEIPT, "kind-receipt", "what is sent again is said to be in its channel's stream")    \
    X(ACL_STALE, "acl-stale", "what was decided before the rules changed still holds")             \
    X(ACL_UNCHECKED, "acl-unchecked", "a schedule fires whatever the rules say")                   \
    X(ACL_ALLOW_WINS, "acl-allow-wins", "an allow counts before a deny")                           \
    X(ACL_EXPIRED_HOLDS, "acl-expired-holds", "a rule holds after it has expired")                 \
    X(ACL_ROLE_SHALLOW, "acl-role-shallow", "roles that a role has do not count")                  \
    X(ACL_WAITING_PASSES, "acl-waiting-passes",                                                    \
      "what was admitted is delivered though the rules forbid it now")                             \
    X(TOKEN_TWICE, "token-twice", "a join token can be used again")                                \
    X(REVOKED_WELCOME, "revoked-welcome", "a revoked certificate opens a link")                    \
    X(REVOKED_STAYS, "revoked-stays", "links of a revoked identity go on")                         \
    X(KEY_FORGOTTEN, "key-forgotten", "snapshots garble idempotency keys")

/* Value of al_node_config.plant: one at a time. */
enum ali_plant {
    ALI_PLANT_NONE,
#define AL_X(symbol, name, doc) ALI_PLANT_##symbol,
    AL_CORE_PLANTS(AL_X)
#undef AL_X
        ALI_PLANT_COUNT
};

#ifdef AL_PLANTS
#define AL_PLANT(node, symbol) ((node)->config.plant == ALI_PLANT_##symbol)
#else
#define AL_PLANT(node, symbol) (0)
#endif

#endif
