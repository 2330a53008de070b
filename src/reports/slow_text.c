#include "slow_text.h"

#include "snapshot.h"

static void print_name(FILE *out, const struct slow_process *process)
{
    char name[TEXT_CLEAN(SCOREBOARD_COMMAND)];
    fputs(text_clean(name, sizeof name, process->command, sizeof process->command), out);
}

void slow_text(FILE *out, const struct slow *slow)
{
    const char *state = snapshot_process_state(slow->process.state);
    char place[TEXT_CLEAN(sizeof slow->channel)], call[TEXT_CLEAN(sizeof slow->call)];
    text_clean(place, sizeof place, slow->channel, sizeof slow->channel);
    text_clean(call, sizeof call, slow->call, sizeof slow->call);
    print_name(out, &slow->process);
    fprintf(out, " %d is %s", (int)slow->process.pid, state ? state : "gone");
    if (place[0])
        fprintf(out, " in %s", place);
    if (call[0])
        fprintf(out, " (%s)", call);
    if (slow->cpu >= 0)
        fprintf(out, ", %.2f s of CPU", clock_seconds(slow->cpu));
    for (int i = 0; i < slow->child_count && i < SCOREBOARD_CHILDREN; i++) {
        fputs(i ? ", " : ", children: ", out);
        print_name(out, &slow->children[i]);
    }
}
