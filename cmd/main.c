/* Entry point of `peerix`. */
#include <stdio.h>

int main(void)
{
    puts("peerix " PX_VERSION);
    return 0;
}
