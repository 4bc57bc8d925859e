#include "../../../gloo.h"
