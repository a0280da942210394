/* What each client does once, as a small compiled program: `PROGRAM once FILE CLIENT`. Clients 1 and 2 replace the file
   through a temporary one, the third one only looks at it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char document[] = "{\"progress\": 41, \"of\": 97, \"state\": \"running\"}\n";

static int look(const char *file) {
    char text[256];
    struct stat status;
    int old = open(file, O_RDONLY | O_CLOEXEC);
    if (old < 0 || fstat(old, &status) != 0)
        return 1;
    ssize_t length = read(old, text, sizeof text);
    if (length < 0 || read(old, text, sizeof text - length) < 0)
        return 1;
    return close(old);
}

int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    const char *file = arguments[2];
    int client = atoi(arguments[3]);
    if (look(file) != 0)
        return 1;
    if (client >= 3)
        return 0;
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.%d", file, client);
    int new = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (new < 0 || write(new, document, sizeof document - 1) < 0 || close(new) != 0)
        return 1;
    return rename(temporary, file) != 0;
}
