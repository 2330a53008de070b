/* Any bytes as a request of the control socket: no crash, the words lie within it, and what is read
 * is written back to the same. */
#include "fuzz.h"

#include "../../src/wire/message.h"

#include <stdlib.h>
#include <string.h>

static void check(const struct message_request *request, const uint8_t *bytes, int length)
{
    uint8_t again[MESSAGE_REQUEST_MAX];
    if (request->count < 1 || request->count > MESSAGE_WORDS || length > MESSAGE_REQUEST_MAX)
        abort();
    for (int i = 0; i < request->count; i++)
        if ((const uint8_t *)request->words[i] < bytes ||
            (const uint8_t *)request->words[i] + strlen(request->words[i]) >= bytes + length)
            abort();
    if (message_write_request(request, again) != length ||
        memcmp(again, bytes, (size_t)length) != 0)
        abort();
}

/* As the daemon does: with what is there, whenever there is more. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    for (size_t there = 0; there <= size && there <= MESSAGE_REQUEST_MAX; there++) {
        struct message_request request;
        uint8_t *copy = malloc(there ? there : 1); /* so that a read beyond it is seen */
        if (!copy)
            abort();
        memcpy(copy, bytes, there);
        int length = message_read_request(&request, copy, there);
        if (length > 0)
            check(&request, copy, length);
        else if (length == 0 && there == MESSAGE_REQUEST_MAX)
            abort(); /* it would wait for bytes that have no room */
        free(copy);
        if (length)
            break;
    }
    return 0;
}
