function column_letters(number){
    let letters = '';
    while (number > 0) {
        number -= 1;
        letters = String.fromCharCode(65 + number % 26) + letters;
        number = Math.floor(number / 26);
    }
    return letters;
}
