/* floor.h - frames of the floor server, see floor.c. */
#ifndef AL_BENCH_FLOOR_H
#define AL_BENCH_FLOOR_H

#define FLOOR_HEAD_SIZE 5u

enum {
    FLOOR_HELLO = 'H',
    FLOOR_SUBSCRIBE = 'S',
    FLOOR_PUBLISH = 'P',
    FLOOR_CONFIRMED = 'C',
    FLOOR_DELIVER = 'D',
    FLOOR_ACK = 'A',
    FLOOR_ACKS_TAKEN = 'K'
};

#endif
