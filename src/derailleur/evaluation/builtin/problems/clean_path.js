function clean_path(path){
    const folders = [];
    for (const part of path.split('/')) {
        if (part === '..') {
            folders.pop();
        } else if (part !== '' && part !== '.') {
            folders.push(part);
        }
    }
    return '/' + folders.join('/');
}
