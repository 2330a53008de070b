#include "../../src/base/entry.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 200 };

static char directory[64];

/* A path in the test's own directory; two results stay valid at a time. */
static const char *in(const char *name)
{
    static char paths[2][PATH_ROOM];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], PATH_ROOM, "%s/%s", directory, name);
    return paths[turn];
}

static void make_file(const char *name)
{
    int fd = open(in(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static struct inode inode_at(const char *name)
{
    struct stat file;
    ck_assert_int_eq(lstat(in(name), &file), 0);
    return inode_of(&file);
}

static void begin(void)
{
    strcpy(directory, "/tmp/preforkd-entry-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    make_file("file");
    ck_assert_int_eq(symlink("file", in("link")), 0);
    ck_assert_int_eq(symlink("nothing", in("dangling")), 0);
}

static void end(void)
{
    static const char *const names[] = {"file", "link", "dangling", "other"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in(names[i]));
    rmdir(in("sub"));
    rmdir(directory);
}

static struct entry opened(const char *name)
{
    struct entry entry;
    ck_assert_int_eq(entry_open(&entry, in(name)), 0);
    return entry;
}

/* The path itself is held, never the target of a link. */
START_TEST(no_link_is_followed)
{
    struct stat found;
    struct inode file = inode_at("file"), held;
    struct entry entry = opened("link");
    int fd = entry_hold(&entry, &found);
    ck_assert_int_ge(fd, 0);
    held = inode_of(&found);
    ck_assert(S_ISLNK(found.st_mode) && !inode_equal(&held, &file));
    ck_assert(!entry_is(&entry, &file));
    ck_assert(!entry_unlink(&entry, &file));
    ck_assert_int_eq(access(in("link"), F_OK), 0);
    close(fd);
    entry_close(&entry);
    entry = opened("dangling");
    fd = entry_hold(&entry, &found);
    ck_assert_int_ge(fd, 0);
    close(fd);
    entry_close(&entry);
    entry = opened("nothing");
    ck_assert_int_eq(entry_hold(&entry, &found), -ENOENT);
    entry_close(&entry);
}
END_TEST

START_TEST(nothing_else_is_unlinked)
{
    make_file("other");
    struct inode file = inode_at("file"), other = inode_at("other"), none = {0};
    struct entry entry = opened("file");
    ck_assert(entry_is(&entry, &file) && !entry_is(&entry, &other) && !entry_is(&entry, &none));
    ck_assert(!entry_unlink(&entry, &other));
    ck_assert(!entry_unlink(&entry, &none));
    ck_assert_int_eq(access(in("file"), F_OK), 0);
    ck_assert(entry_unlink(&entry, &file));
    ck_assert_int_ne(access(in("file"), F_OK), 0);
    ck_assert(!entry_unlink(&entry, &file));
    entry_close(&entry);
    ck_assert_int_eq(entry.directory, -1);
}
END_TEST

START_TEST(inodes)
{
    struct inode a = {.device = 1, .number = 2}, b = a, none = {0};
    ck_assert(inode_equal(&a, &b));
    b.device = 3;
    ck_assert(!inode_equal(&a, &b));
    b = a;
    b.number = 3;
    ck_assert(!inode_equal(&a, &b));
    ck_assert(!inode_equal(&none, &none)); /* none does not even equal itself */
    struct inode no_fd = inode_of_fd(-1);
    ck_assert_uint_eq(no_fd.number, 0);
}
END_TEST

START_TEST(names_and_directories)
{
    struct inode here, there;
    ck_assert_str_eq(entry_name("/a/b"), "b");
    ck_assert_str_eq(entry_name("b"), "b");
    ck_assert_str_eq(entry_name("/a/"), "");
    ck_assert_int_eq(mkdir(in("sub"), 0700), 0);
    ck_assert_int_eq(entry_directory(in("x"), &here), 0);
    ck_assert_int_eq(entry_directory(in("sub/../x"), &there), 0);
    ck_assert(entry_same("/1/x", &here, "/2/x", &there));
    ck_assert(!entry_same("/1/x", &here, "/2/y", &there));
    ck_assert_int_eq(entry_directory(in("sub/x"), &there), 0);
    ck_assert(!entry_same("/1/x", &here, "/2/x", &there));
    ck_assert_int_eq(entry_directory(in("nothing/x"), &there), -ENOENT);
    ck_assert_int_eq(entry_directory(in("file/x"), &there), -ENOTDIR);
}
END_TEST

START_TEST(a_directory_has_its_mode)
{
    struct stat made;
    mode_t mask = umask(077);
    ck_assert_int_eq(entry_make_directory(in("sub"), 0755), 0);
    ck_assert_int_eq(umask(mask), 077);
    ck_assert_int_eq(stat(in("sub"), &made), 0);
    ck_assert_int_eq(made.st_mode & 0777, 0755);
    ck_assert_int_eq(entry_make_directory(in("sub"), 0755), -EEXIST);
}
END_TEST

/* Each property that distinguishes a file from its predecessor must be compared. */
START_TEST(files_are_known_again)
{
    const struct file_id is = {.device = 1, .inode = 2, .size = 3, .written = {4, 5}};
    struct file_id others[] = {is, is, is, is, is};
    others[0].device++;
    others[1].inode++;
    others[2].size++;
    others[3].written.tv_sec++;
    others[4].written.tv_nsec++;
    ck_assert(file_id_equal(&is, &(struct file_id){1, 2, 3, {4, 5}}));
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(!file_id_equal(&is, &others[i]), "%u", i);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("entry");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, no_link_is_followed);
    tcase_add_test(tests, nothing_else_is_unlinked);
    tcase_add_test(tests, inodes);
    tcase_add_test(tests, names_and_directories);
    tcase_add_test(tests, a_directory_has_its_mode);
    tcase_add_test(tests, files_are_known_again);
    return unit_run("entry", tests);
}
