function name_badge(name){
    const words = name.toUpperCase().split(' ');
    const last = words.pop();
    return words.map((word) => `${word[0]}. `).join('') + last;
}
