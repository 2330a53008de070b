#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *status_text(const struct scoreboard *board, usec now)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "preforkd pid %d, up %.0f s, %u reloads, %u refused%s%s\n", (int)board->master,
            clock_seconds(now - board->started), board->reloads, board->reloads_refused,
            board->reload_result[0] ? ": " : "", board->reload_result);
    fprintf(out, "\nPOOL  STATE\n");
    for (int i = 0; i < SCOREBOARD_POOLS; i++)
        if (board->pools[i].used)
            fprintf(out, "%s\n", board->pools[i].name);
    fclose(out);
    return text;
}

char *status_json(const struct scoreboard *board, usec now)
{
    char *text;
    return asprintf(&text, "{\"master\":%d,\"uptime\":%.3f,\"reloads\":%u}\n", (int)board->master,
                    clock_seconds(now - board->started), board->reloads) < 0
               ? NULL
               : text;
}

char *deaths_text(const struct scoreboard *board)
{
    char *text;
    return asprintf(&text, "deaths: %llu\n", (unsigned long long)board->deaths_written) < 0 ? NULL
                                                                                            : text;
}

char *deaths_json(const struct scoreboard *board)
{
    (void)board;
    return strdup("[]\n");
}
