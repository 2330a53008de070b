/*
 * board_request - what a reporter and the master say to each other about scoreboards: a datagram asks
 * for one by its number, and a datagram answers, with its descriptor where it is there.
 *
 * Called by: worker/reader, master/boards.
 */
#ifndef PREFORKD_BOARD_BOARD_REQUEST_H
#define PREFORKD_BOARD_BOARD_REQUEST_H

#include <stdint.h>

struct board_question {
    uint32_t number;
};

struct board_answer {
    uint32_t number;
    uint64_t serial; /* of that which has the number now; 0: none has, and no descriptor comes */
};

#endif
