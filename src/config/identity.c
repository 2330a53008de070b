#include "identity.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A number as users and groups have them; the last one means "none" to the system's calls. */
static bool read_number(const char *word, unsigned *number)
{
    char *end;
    if (!isdigit((unsigned char)*word))
        return false;
    errno = 0;
    unsigned long value = strtoul(word, &end, 10);
    if (*end || errno || value >= (uid_t)-1)
        return false;
    *number = (unsigned)value;
    return true;
}

static void take_user(struct identity *identity, const struct passwd *entry, struct arena *arena)
{
    identity->user = arena_text(arena, entry->pw_name);
    identity->home = arena_text(arena, entry->pw_dir);
    identity->uid = entry->pw_uid;
    identity->gid = entry->pw_gid;
}

static void take_number(struct identity *identity, uid_t uid, struct arena *arena)
{
    const struct passwd *entry = getpwuid(uid);
    if (entry) {
        take_user(identity, entry, arena);
        return;
    }
    identity->user = arena_format(arena, "%u", uid);
    identity->home = "/";
    identity->uid = uid;
    identity->gid = IDENTITY_NO_GROUP;
}

bool identity_user(struct identity *identity, const char *word, struct arena *arena)
{
    unsigned number;
    const struct passwd *entry = getpwnam(word);
    if (entry)
        take_user(identity, entry, arena);
    else if (read_number(word, &number))
        take_number(identity, number, arena);
    else
        return false;
    return true;
}

bool identity_group(struct identity *identity, const char *word, struct arena *arena)
{
    unsigned number;
    const struct group *entry = getgrnam(word);
    if (!entry && !read_number(word, &number))
        return false;
    identity->gid = entry ? entry->gr_gid : number;
    entry = getgrgid(identity->gid);
    identity->group = arena_text(arena, entry ? entry->gr_name : word);
    return true;
}

static void name_group(struct identity *identity, struct arena *arena)
{
    const struct group *entry = getgrgid(identity->gid);
    identity->group =
        entry ? arena_text(arena, entry->gr_name) : arena_format(arena, "%u", identity->gid);
}

/* A user without a name is in no group but the one that it is given. */
static bool has_name(const struct identity *identity)
{
    const struct passwd *entry = getpwuid(identity->uid);
    return entry && getpwnam(identity->user);
}

static void list_groups(struct identity *identity, struct arena *arena)
{
    int count = 0;
    getgrouplist(identity->user, identity->gid, NULL, &count);
    gid_t *groups = arena_take(arena, (size_t)(count + 1) * sizeof *groups);
    if (getgrouplist(identity->user, identity->gid, groups, &count) < 0)
        count = 0;
    identity->groups = groups;
    identity->group_count = count;
}

void identity_complete(struct identity *identity, struct arena *arena)
{
    if (!identity->group)
        name_group(identity, arena);
    if (has_name(identity)) {
        list_groups(identity, arena);
        return;
    }
    gid_t *only = arena_take(arena, sizeof *only);
    *only = identity->gid;
    identity->groups = only;
    identity->group_count = 1;
}

void identity_self(struct identity *identity, struct arena *arena)
{
    *identity = (struct identity){0};
    take_number(identity, geteuid(), arena);
    identity->gid = getegid();
    name_group(identity, arena);
    int count = getgroups(0, NULL);
    gid_t *groups = arena_take(arena, (size_t)(count > 0 ? count : 0) * sizeof *groups + 1);
    identity->groups = groups;
    identity->group_count = count > 0 ? getgroups(count, groups) : 0;
}
