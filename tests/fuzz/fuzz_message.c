/* Any bytes as a request on the control socket, and as the first line of a reply: no crash, words
 * lie within the request, and what was read is written and read back to the same. */
#include "fuzz.h"

#include "../../src/wire/message.h"

#include <stdlib.h>
#include <string.h>

static void check(const struct message_request *request, const char *bytes, int length)
{
    char again[MESSAGE_REQUEST_MAX + 1];
    struct message_request read;
    if (request->count > MESSAGE_WORDS || length > MESSAGE_REQUEST_MAX)
        abort();
    for (int i = 0; i < request->count; i++)
        if (request->words[i] < bytes ||
            request->words[i] + strlen(request->words[i]) > bytes + length)
            abort();
    int written = message_write_request(request, again);
    if (length == MESSAGE_REQUEST_MAX && written < 0)
        return; /* a line that ended without a newline, for which there is no room */
    if (written < 0 || written > length + 1)
        abort();
    if (written && (message_read_request(&read, again, (size_t)written, false) != written ||
                    read.count != request->count))
        abort();
    for (int i = 0; written && i < read.count; i++)
        if (strcmp(read.words[i], request->words[i]) != 0)
            abort();
}

static void read_head(const uint8_t *bytes, size_t size)
{
    struct message_head head, again;
    char line[MESSAGE_HEAD];
    int length = message_read_head(&head, (const char *)bytes, size);
    if (length <= 0 && size < MESSAGE_HEAD)
        return;
    if (length == 0 || length >= MESSAGE_HEAD)
        abort(); /* it would wait for bytes that have no room */
    if (length < 0)
        return;
    int written = message_write_head(&head, line);
    if (message_read_head(&again, line, (size_t)written) != written || written > length ||
        again.status != head.status || again.out != head.out || again.err != head.err)
        abort();
}

/* Like the daemon: reads what has arrived so far, repeatedly, and at the end. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    read_head(bytes, size);
    for (size_t there = 0; there <= size && there <= MESSAGE_REQUEST_MAX; there++) {
        struct message_request request;
        bool ended = there == size;
        char *copy = malloc(there + 1); /* so that reads beyond it are noticed */
        if (!copy)
            abort();
        memcpy(copy, bytes, there);
        int length = message_read_request(&request, copy, there, ended);
        if (length > 0)
            check(&request, copy, length);
        else if (length == 0 && (there == MESSAGE_REQUEST_MAX || (ended && there)))
            abort(); /* it would wait for bytes that have no room, or never come */
        free(copy);
        if (length)
            break;
    }
    return 0;
}
