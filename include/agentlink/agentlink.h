/* agentlink.h - the whole public interface of libagentlink.
 *
 * AgentLink passes messages between agents: on disk before they are acknowledged, in order inside a
 * stream, tried again by policy, never lost. A *client* is a program's link to one node. The node
 * is a daemon (`unix:PATH`) or part of this process (`file:DIR`, `inproc:`); the calls are the
 * same.
 *
 *   errors.h   error codes and their texts
 *   message.h  messages and message ids
 *   client.h   opening, closing, waiting, callbacks
 *   send.h     sending, receipts, ends, requests
 *   request.h  many requests at once, with deadlines and cancellation
 *   receive.h  receiving, acknowledging, handlers
 *   commit.h   acks, messages and an agent's own state in one step
 *   admin.h    delivery records, agents, streams, dead letters, status, metrics
 *   chat.h     conversations with turns in a group
 *   groups.h   groups: members, posts, history, proof
 *   health.h   key figures, health and alerts of the node
 *   replay.h   what streams keep of what has ended, and replay
 *   acl.h      permissions: who may send what to whom
 *   identity.h agents on other machines: tokens, joining, revocation
 *   kinds.h    kinds of messages: lease times, retries, breakers, metrics
 *
 * Conventions
 * - Functions return 0 (or a count) on success and a negative error on failure: -AL_ERR_… .
 *   al_last_error() then says what was wrong, where, and what to do. Outputs (`ret_x`) are written
 *   only on success.
 * - Texts are UTF-8 and end with NUL. NULL and "" both mean "none". Byte ranges are pointer and
 * size.
 * - Times are milliseconds. A timeout of 0 does not wait; a negative one waits for ever. Wall-clock
 *   times count from 1970-01-01 UTC. A *lasting* value of 0 means "the default" or "none", as said
 *   at the field.
 * - A struct of options or a message may be zeroed: that is every default. The one exception is the
 *   priority of a message; begin with al_message_init().
 * - The library never prints, never exits, installs no signal handler and ignores no signal: it
 *   writes to sockets with MSG_NOSIGNAL.
 *
 * Threads. Every function may be called from any thread, also on the same client at the same time,
 * except al_client_close() and al_client_abort(), which must be the last call on it. One lock per
 * client guards it; a call that waits gives it up meanwhile. Callbacks and handlers run on the
 * thread that called al_client_dispatch(), al_client_run() or al_client_flush(), without the lock:
 * they may call anything but al_client_close() and al_client_abort(). The library has one small
 * thread of its own per client with receivers or requests under way: it renews leases, looks after
 * the requests and answers pings while the program works, and never calls the program. A client
 * does not survive fork(): open a new one in the child. */
#ifndef AGENTLINK_AGENTLINK_H
#define AGENTLINK_AGENTLINK_H

#include <agentlink/acl.h>
#include <agentlink/admin.h>
#include <agentlink/chat.h>
#include <agentlink/client.h>
#include <agentlink/commit.h>
#include <agentlink/errors.h>
#include <agentlink/groups.h>
#include <agentlink/health.h>
#include <agentlink/identity.h>
#include <agentlink/kinds.h>
#include <agentlink/message.h>
#include <agentlink/processed.h>
#include <agentlink/receive.h>
#include <agentlink/replay.h>
#include <agentlink/request.h>
#include <agentlink/schedule.h>
#include <agentlink/send.h>
#include <agentlink/workflow.h>

#endif
